// SPDX-License-Identifier: GPL-2.0-only
/* A JSON reader that allocates nothing and keeps two texts. */
#include "json_in.h"

#include <ctype.h>
#include <string.h>

#define DEPTH_MAX 16

struct cursor {
	const char *at;
	const char *end;
};

static void skip_space(struct cursor *c)
{
	while (c->at < c->end && strchr(" \t\r\n", *c->at) && *c->at)
		c->at++;
}

static bool take(struct cursor *c, char want)
{
	skip_space(c);
	if (c->at == c->end || *c->at != want)
		return false;
	c->at++;
	return true;
}

/* Escapes other than the one-letter ones name nothing we look for: they become '?'. */
static int unescape(struct cursor *c)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *hit;

	if (c->at == c->end)
		return -1;
	if (*c->at == 'u') {
		for (int i = 1; i <= 4; i++)
			if (c->end - c->at <= i || !isxdigit((unsigned char)c->at[i]))
				return -1;
		c->at += 5;
		return '?';
	}
	hit = *c->at ? strchr(from, *c->at) : NULL;
	if (!hit)
		return -1;
	c->at++;
	return to[hit - from];
}

/* Read a string into `out`, or past it when out is NULL. */
static bool string(struct cursor *c, char *out, size_t size)
{
	size_t n = 0;

	if (!take(c, '"'))
		return false;
	while (c->at < c->end && *c->at != '"') {
		int ch = (unsigned char)*c->at++;

		if (ch < 0x20)
			return false;
		if (ch == '\\')
			ch = unescape(c);
		if (ch < 0 || (out && n + 1 >= size))
			return false;
		if (out)
			out[n++] = (char)ch;
	}
	if (c->at == c->end)
		return false;
	c->at++;
	if (out)
		out[n] = '\0';
	return true;
}

static bool digits(struct cursor *c)
{
	const char *start = c->at;

	while (c->at < c->end && isdigit((unsigned char)*c->at))
		c->at++;
	return c->at > start;
}

static bool number(struct cursor *c)
{
	bool zero;

	if (c->at < c->end && *c->at == '-')
		c->at++;
	zero = c->at < c->end && *c->at == '0';
	if (zero)
		c->at++;
	else if (!digits(c))
		return false;
	if (c->at < c->end && *c->at == '.') {
		c->at++;
		if (!digits(c))
			return false;
	}
	if (c->at < c->end && (*c->at == 'e' || *c->at == 'E')) {
		c->at++;
		if (c->at < c->end && (*c->at == '+' || *c->at == '-'))
			c->at++;
		return digits(c);
	}
	return true;
}

static bool word(struct cursor *c, const char *text)
{
	size_t n = strlen(text);

	if ((size_t)(c->end - c->at) < n || memcmp(c->at, text, n))
		return false;
	c->at += n;
	return true;
}

static bool skip_value(struct cursor *c, int depth)
{
	char close;
	bool object;

	skip_space(c);
	if (c->at == c->end || depth > DEPTH_MAX)
		return false;
	if (*c->at == '"')
		return string(c, NULL, 0);
	if (*c->at != '{' && *c->at != '[')
		return word(c, "true") || word(c, "false") || word(c, "null") || number(c);
	object = *c->at++ == '{';
	close = object ? '}' : ']';
	if (take(c, close))
		return true;
	do {
		if (object && (!string(c, NULL, 0) || !take(c, ':')))
			return false;
		if (!skip_value(c, depth + 1))
			return false;
	} while (take(c, ','));
	return take(c, close);
}

static bool parse_args(struct cursor *c, struct stats_request *out)
{
	char key[64];

	if (!take(c, '{'))
		return false;
	if (take(c, '}'))
		return true;
	do {
		if (!string(c, key, sizeof(key)) || !take(c, ':'))
			return false;
		if (strcmp(key, "target") ? !skip_value(c, 2) :
					    !string(c, out->target, sizeof(out->target)))
			return false;
	} while (take(c, ','));
	return take(c, '}');
}

bool stats_request_parse(const char *line, size_t len, struct stats_request *out)
{
	struct cursor c = {.at = line, .end = line + len};
	bool have_req = false;
	char key[64];

	memset(out, 0, sizeof(*out));
	if (!take(&c, '{'))
		return false;
	if (!take(&c, '}')) {
		do {
			bool ok;

			if (!string(&c, key, sizeof(key)) || !take(&c, ':'))
				return false;
			if (!strcmp(key, "req"))
				ok = have_req = string(&c, out->req, sizeof(out->req));
			else if (!strcmp(key, "args"))
				ok = parse_args(&c, out);
			else
				ok = skip_value(&c, 1);
			if (!ok)
				return false;
		} while (take(&c, ','));
		if (!take(&c, '}'))
			return false;
	}
	skip_space(&c);
	return c.at == c.end && have_req;
}
