// SPDX-License-Identifier: GPL-2.0-only
/*
 * Taobench: a look-aside object cache after Meta's TAO, as in DCPerf. Client
 * threads look up keys; a miss goes to a slow thread, which sleeps as if it
 * asked a database, caches the object and answers. With arrival_rate requests
 * arrive by the clock, whether or not the previous ones were answered in time.
 */
#include "taobench.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine.h"

#define MAX_THREADS   4096
#define MIB	      (1ULL << 20)
#define WARM_UP_DRAWS 8	 /* until close seeds have parted */
#define WAIT_MS	      50 /* longest sleep of a client that waits for an arrival */

enum taobench_param {
	CLIENT_THREADS,
	SLOW_THREADS,
	CACHE_CAPACITY_MIB,
	TARGET_HIT_PCT,
	SLOW_PATH_SLEEP_US,
	ARRIVAL_RATE,
};

struct tao_thread {
	struct engine_thread thread;
	struct taobench *bench;
	/* Of a client: */
	struct tao_thread *next; /* in the queue of misses */
	uint32_t key;		 /* asked for */
	uint64_t rng;
	uint64_t first_ns; /* intended arrival of the first request, after the start */
	uint64_t checksum;
	struct taobench_counters counters;
	struct plat serve;
};

struct taobench {
	struct engine engine;
	struct tao_cache cache;
	struct tao_thread *threads; /* the clients, then the slow threads */
	unsigned int clients;
	uint64_t interval_ns; /* between two requests of a client; 0: a closed loop */
	uint64_t sleep_ns;
	pthread_mutex_t lock; /* of the queue */
	pthread_cond_t filled;
	struct tao_thread *first;
	struct tao_thread **last;
};

static struct tao_thread *of(struct engine_thread *t)
{
	return (struct tao_thread *)t;
}

static void enqueue(struct taobench *b, struct tao_thread *client)
{
	client->next = NULL;
	pthread_mutex_lock(&b->lock);
	*b->last = client;
	b->last = &client->next;
	pthread_cond_signal(&b->filled);
	pthread_mutex_unlock(&b->lock);
}

/* The client that waits longest; NULL: the engine stops. */
static struct tao_thread *dequeue(struct taobench *b)
{
	struct tao_thread *client;

	pthread_mutex_lock(&b->lock);
	while (!b->first && !engine_stopping(&b->engine))
		pthread_cond_wait(&b->filled, &b->lock);
	client = engine_stopping(&b->engine) ? NULL : b->first;
	if (client) {
		b->first = client->next;
		if (!b->first)
			b->last = &b->first;
	}
	pthread_mutex_unlock(&b->lock);
	return client;
}

static void slow_thread(struct engine_thread *t)
{
	struct taobench *b = of(t)->bench;
	struct timespec nap = timespec_of(b->sleep_ns);
	struct tao_thread *client;

	while ((client = dequeue(b))) {
		if (b->sleep_ns)
			nanosleep(&nap, NULL);
		/* Without memory the object is answered, and not cached. */
		tao_cache_put(&b->cache, client->key);
		engine_post(&client->thread.gate);
		engine_record(t);
		engine_recorded(t);
	}
}

static void count_request(struct tao_thread *c, bool hit)
{
	engine_record(&c->thread);
	c->counters.get_cmds++;
	c->counters.get_misses += !hit;
	engine_recorded(&c->thread);
}

static void count_response(struct tao_thread *c, bool hit, uint64_t arrival_ns)
{
	engine_record(&c->thread);
	c->counters.fast_ops += hit;
	c->counters.slow_ops += !hit;
	if (arrival_ns)
		plat_add(&c->serve, (now_ns() - arrival_ns) / NSEC_PER_USEC);
	engine_loop(&c->thread);
	engine_recorded(&c->thread);
}

/* @arrival_ns: when the request should have come; 0: nobody measures how late the answer is. */
static void ask(struct tao_thread *c, uint64_t arrival_ns)
{
	struct taobench *b = c->bench;
	bool hit;

	c->key = (uint32_t)random_below(&c->rng, b->cache.keys);
	hit = tao_cache_get(&b->cache, c->key, &c->checksum);
	count_request(c, hit);
	if (!hit) {
		__atomic_store_n(&c->thread.gate, GATE_BLOCKED, __ATOMIC_SEQ_CST);
		enqueue(b, c);
		if (!engine_stopping(&b->engine))
			engine_await(&c->thread.gate);
		if (engine_stopping(&b->engine))
			return; /* perhaps not answered */
	}
	count_response(c, hit, arrival_ns);
}

/* False: the engine stops. */
static bool wait_for_arrival(const struct engine *e, uint64_t arrival_ns)
{
	uint64_t now;

	while ((now = now_ns()) < arrival_ns && !engine_stopping(e)) {
		uint64_t poll = now + WAIT_MS * NSEC_PER_MSEC;

		engine_sleep_until(poll < arrival_ns ? poll : arrival_ns);
	}
	return !engine_stopping(e);
}

static void client_thread(struct engine_thread *t)
{
	struct tao_thread *c = of(t);
	const struct taobench *b = c->bench;
	uint64_t arrival = now_ns() + c->first_ns;

	if (!b->interval_ns)
		while (!engine_stopping(t->engine))
			ask(c, 0);
	else
		for (; wait_for_arrival(t->engine, arrival); arrival += b->interval_ns)
			ask(c, arrival);
}

static void release(struct engine *e)
{
	struct taobench *b = e->own;

	pthread_mutex_lock(&b->lock);
	pthread_cond_broadcast(&b->filled);
	pthread_mutex_unlock(&b->lock);
	for (unsigned int i = 0; i < b->clients; i++)
		engine_post(&b->threads[i].thread.gate);
}

static void add_counters(struct taobench_counters *to, const struct taobench_counters *from)
{
	to->get_cmds += from->get_cmds;
	to->get_misses += from->get_misses;
	to->fast_ops += from->fast_ops;
	to->slow_ops += from->slow_ops;
	to->elapsed_ns += from->elapsed_ns;
}

static void drain(struct engine *e, struct engine_phase *to, uint64_t ns)
{
	struct engine_result *r = e->w->group->shared;
	struct taobench *b = e->own;
	struct taobench_counters sum = {.elapsed_ns = ns};

	for (unsigned int i = 0; i < b->clients; i++) {
		struct tao_thread *c = &b->threads[i];

		engine_record(&c->thread);
		engine_see(&c->thread);
		add_counters(&sum, &c->counters);
		c->counters = (struct taobench_counters){0};
		plat_move(&to->taobench.serve, &c->serve);
		engine_recorded(&c->thread);
	}
	add_counters(&to->taobench.counters, &sum);
	add_counters(&r->whole, &sum);
}

static const struct engine_ops ops = {
	.kind = ENGINE_TAOBENCH,
	.release = release,
	.drain = drain,
};

/* Before the start: filling the cache is no part of the measurement. */
static bool prepare(struct worker *w, char *error, size_t size)
{
	struct taobench *b = work_state(w, sizeof(*b), error, size);

	if (!b)
		return false;
	if (param(w, CLIENT_THREADS) + param(w, SLOW_THREADS) > MAX_THREADS) {
		snprintf(error, size,
			 "client_threads + slow_threads must be at most %u, found %llu",
			 MAX_THREADS,
			 (unsigned long long)(param(w, CLIENT_THREADS) + param(w, SLOW_THREADS)));
		return false;
	}
	if (tao_cache_fill(&b->cache, param(w, CACHE_CAPACITY_MIB) * MIB, param(w, TARGET_HIT_PCT)))
		return true;
	snprintf(error, size, "no memory for a cache of cache_capacity_mib = %llu",
		 (unsigned long long)param(w, CACHE_CAPACITY_MIB));
	return false;
}

static void make_thread(struct taobench *b, unsigned int i)
{
	struct tao_thread *t = &b->threads[i];
	bool client = i < b->clients;

	b->engine.threads[i] = &t->thread;
	t->bench = b;
	t->thread.serves = !client;
	t->thread.name = client ? "taobench-client" : "taobench-slow";
	t->thread.body = client ? client_thread : slow_thread;
	/* Far apart: the same stream a few draws later would ask for what was just cached. */
	t->rng = (b->engine.w->probe.rng + i) * 0x9e3779b97f4a7c15ULL | 1;
	for (int k = 0; k < WARM_UP_DRAWS; k++)
		xorshift64(&t->rng);
	t->first_ns = client ? b->interval_ns / b->clients * i : 0;
}

static void run(struct worker *w)
{
	struct taobench *b = w->state;
	struct engine *e = &b->engine;
	uint64_t slow = param(w, SLOW_THREADS), rate = param(w, ARRIVAL_RATE);

	*e = (struct engine){.w = w, .ops = &ops, .own = b, .open_loop = rate != 0};
	b->clients = (unsigned int)param(w, CLIENT_THREADS);
	if (!b->clients)
		b->clients = engine_cpus();
	if (!slow)
		slow = b->clients < 3 ? 1 : b->clients / 3;
	b->sleep_ns = param(w, SLOW_PATH_SLEEP_US) * NSEC_PER_USEC;
	b->last = &b->first;
	if (rate)
		b->interval_ns = NSEC_PER_SEC * b->clients / rate;
	if (rate && !b->interval_ns)
		b->interval_ns = 1;
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->filled, NULL);
	e->count = b->clients + (unsigned int)slow;
	b->threads = calloc(e->count, sizeof(*b->threads));
	e->threads = calloc(e->count, sizeof(struct engine_thread *));
	if (!b->threads || !e->threads)
		work_panic(w, "no memory for %u threads", e->count);
	for (unsigned int i = 0; i < e->count; i++)
		make_thread(b, i);
	engine_run(e);
}

const struct work_type work_taobench = {
	.name = "Taobench",
	.makes_tasks = true,
	.group_size = 1,
	.params = {{"client_threads", 0, 0, 1024},
		   {"slow_threads", 0, 0, 1024},
		   {"cache_capacity_mib", 64, 0, 4096},
		   {"target_hit_pct", 90, 1, 99},
		   {"slow_path_sleep_us", 100, 0, 100000},
		   {"arrival_rate", 0, 0, 1000000000}},
	.shared_bytes = engine_shared_bytes,
	.prepare = prepare,
	.run = run,
};
