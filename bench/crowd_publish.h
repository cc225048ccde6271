/* Publishers post to random users, each its next event when the last one was answered.
 *
 * Rule: closed loop, so the rate is the server's; what it did not take in time shows as
 * fewer events and not as a queue.
 */
#ifndef BENCH_CROWD_PUBLISH_H
#define BENCH_CROWD_PUBLISH_H

#include "crowd_steps.h"
#include "letters.h"

enum { LETTERS_MAX = 1 << 23 };

static struct letters letters;
static struct hist posting, delivering;
static struct {
    uint64_t first, count, sent_at;
} request[MAX_PUBLISHERS];
static uint64_t batch_size, window_first, posting_ends, events_answered;
static bool measuring;

static uint64_t random_below(uint64_t limit)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state % limit;
}

static uint64_t new_letter(int publisher, uint64_t *reader)
{
    *reader = random_below(letters.readers);
    return letters_send(&letters, (uint64_t)publisher, *reader);
}

static void post_letters(int publisher)
{
    uint64_t now = now_ns(), reader;
    size_t len = 0;
    if (letters.sent + batch_size > letters.room) {
        fail("more than %llu events", (unsigned long long)letters.room);
        return;
    }
    request[publisher].first = letters.sent;
    request[publisher].count = batch_size;
    request[publisher].sent_at = now;
    if (batch_size == 1) {
        uint64_t number = new_letter(publisher, &reader);
        post_event(&publishers[publisher], opt.publish_path, reader, number, now);
        return;
    }
    for (uint64_t i = 0; i < batch_size; i++) {
        uint64_t number = new_letter(publisher, &reader);
        body[len++] = i ? ',' : '[';
        len += write_event(body + len, number, now, (long)reader);
    }
    body[len++] = ']';
    post(&publishers[publisher], crowd.batch_path, body, len);
}

static void letters_answered(int publisher, bool taken)
{
    letters_answer(&letters, request[publisher].first, request[publisher].count, taken);
    if (measuring) {
        hist_add(&posting, net.received_at - request[publisher].sent_at);
        events_answered += request[publisher].count;
    }
    request[publisher].count = 0;
    if (net.received_at < posting_ends)
        post_letters(publisher);
}

static void letter_arrived(uint64_t stream, const struct wire *wire)
{
    if (letters_arrive(&letters, stream, wire->seq) && measuring && wire->seq >= window_first)
        hist_add(&delivering, net.received_at - wire->time);
}

/* Posts for warm-up and window, then waits for what is under way. The names are those
 * of the figures, in the order in which they are put. */
static void post_for_a_while(uint64_t batch, int count, const char *const names[9])
{
    batch_size = batch;
    posting = delivering = (struct hist){0};
    events_answered = 0;
    posting_ends = now_ns() + (uint64_t)((opt.warmup + opt.seconds) * 1e9);
    for (int i = 0; i < count; i++)
        post_letters(i);
    wait_seconds(opt.warmup);
    window_first = letters.sent;
    struct usage a = usage_now();
    measuring = true;
    wait_seconds(opt.seconds);
    struct usage b = usage_now();
    measuring = false;
    double seconds = (double)(b.time - a.time) / 1e9, events = (double)events_answered;
    const double values[] = {per(events, seconds),
                             (double)hist_at(&posting, 0.5) / 1e3,
                             (double)hist_at(&posting, 0.99) / 1e3,
                             (double)hist_at(&delivering, 0.5) / 1e3,
                             (double)hist_at(&delivering, 0.99) / 1e3,
                             per((double)(b.server - a.server) / 1e3, events),
                             per((double)(b.broker - a.broker) / 1e3, events),
                             per((double)(b.server - a.server) / 1e9, seconds),
                             per((double)(b.own - a.own) / 1e9, seconds)};
    for (int i = 0; i < 9; i++)
        put(names[i], values[i]);
    uint64_t start = now_ns();
    while ((letters.unanswered || letters.arrived < letters.sent - letters.refused) &&
           since(start) < opt.drain && !failure[0])
        turn();
    wait_seconds(0.2); /* duplicates would come now */
}

static void publish(void)
{
    static const char *const single[] = {
        "publishes_per_second",   "publish_us_p50",        "publish_us_p99",
        "delivery_us_p50",        "delivery_us_p99",       "server_cpu_us_per_publish",
        "broker_cpu_us_per_publish", "publish_server_cpu_share", "publish_loadgen_cpu_share"};
    static const char *const batches[] = {
        "batch_events_per_second", "batch_us_p50",           "batch_us_p99",
        "batch_delivery_us_p50",   "batch_delivery_us_p99",  "server_cpu_us_per_batch_event",
        "broker_cpu_us_per_batch_event", "batch_server_cpu_share", "batch_loadgen_cpu_share"};
    int singly = (int)opt.publishers, jointly = (int)crowd.batch_publishers;
    seed();
    connect_everybody();
    if (!letters_open(&letters, LETTERS_MAX, (uint64_t)opt.connections, MAX_PUBLISHERS))
        abort();
    net_close(&publishers[0]);
    connect_publishers(singly > jointly ? singly : jointly);
    arrived = letter_arrived;
    answered = letters_answered;
    struct usage a = usage_now();
    if (!failure[0])
        post_for_a_while(1, singly, single);
    if (crowd.batch > 1 && !failure[0])
        post_for_a_while((uint64_t)crowd.batch, jointly, batches);
    put_shares(&a, SHARES);
    put("published", (double)letters.sent);
    put("deliveries", (double)letters.arrived);
    put("lost", (double)letters_lost(&letters));
    put("duplicates", (double)letters.duplicates);
    put("out_of_order", (double)letters.out_of_order);
    put("foreign", (double)letters.foreign);
    put("refused", (double)letters.refused);
    put("unanswered", (double)letters.unanswered);
}

#endif
