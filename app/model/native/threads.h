/* Threads that share loops. A pass is a fixed sequence of loops whose items the threads take as they come. A loop is
 * over when its items are done, not when every thread has arrived: a thread that loses its core to another program
 * holds nobody up, except in the middle of an item.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

/* `next` is the pass it counts for (high half) and the first item not taken; `done` counts finished items. */
typedef struct {
    _Alignas(64) atomic_uint_least64_t next;
    atomic_int done;
} Loop;

typedef struct {
    Loop *loops;
    int num_loops, num_threads;
    atomic_uint pass;
    pthread_mutex_t mutex;
    pthread_cond_t begun;
} Team;

/* One thread's way through a pass. */
typedef struct {
    Team *team;
    int index, loop, held;
    unsigned pass;
    int tile_shape; /* what its AMX registers are shaped for; 0 at first */
} Thread;

/* Wait a moment for another thread; after many moments, offer the core to whoever needs it. */
static inline void pause_briefly(int spins) {
    if (spins > 4000) sched_yield();
#ifdef __x86_64__
    else __builtin_ia32_pause();
#endif
}

/* Take up to `chunk` of the current loop's `count` items. Without any left: wait for those that others hold, go on to
 * the next loop and return 0. A thread that is late by a whole pass takes nothing. */
static int take(Thread *thread, int count, int chunk, int *begin, int *end) {
    Team *team = thread->team;
    Loop *loop = team->loops + thread->loop;
    if (thread->held) atomic_fetch_add(&loop->done, thread->held);
    uint_least64_t next = atomic_load(&loop->next);
    while (next >> 32 == thread->pass && (int)(uint32_t)next < count)
        if (atomic_compare_exchange_weak(&loop->next, &next, next + chunk)) {
            *begin = (int)(uint32_t)next;
            *end = *begin + chunk < count ? *begin + chunk : count;
            thread->held = *end - *begin;
            return 1;
        }
    for (int spins = 0; atomic_load(&loop->done) < count && atomic_load(&team->pass) == thread->pass; spins++)
        pause_briefly(spins);
    thread->held = 0;
    thread->loop++;
    return 0;
}

/* for (i = 0; i < count; i++), shared by all threads, `chunk` at a time; none goes on before all of it is done. */
#define SHARED_FOR(thread, i, count, chunk)                                         \
    for (int i = 0, i##_end = 0; take(thread, (count), (chunk), &i, &i##_end);)     \
        for (; i < i##_end; i++)
