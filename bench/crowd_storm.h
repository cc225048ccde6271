/* Everybody is dropped and comes back with their last id; others stay and listen on.
 *
 * Rule: the time of the storm begins with the first connection that is dropped and ends
 * when the last of the crowd has everything it missed. What is refused tries again.
 */
#ifndef BENCH_CROWD_STORM_H
#define BENCH_CROWD_STORM_H

#include "crowd_steps.h"
#include "ledger.h"

static const uint64_t MISSED = 1ull << 40; /* numbers of the broadcasts nobody was there for */
static struct ledger live, missed;
static struct hist calm, stormy, returning;
static char (*last_ids)[WIRE_ID];
static uint64_t live_start, live_refused, live_answers, drop_event, calm_event, *returns;
static int crowd_size, back, retry_head, retry_tail;
static struct {
    struct conn *conn;
    uint64_t at;
} *retries; /* in the order of time: the delay is the same for all */
static const double RETRY_AFTER = 0.1;
static bool storming, live_on;

static void storm_answered(int publisher, bool taken)
{
    if (publisher == 0) {
        count_answer(publisher, taken);
    } else {
        live_answers++;
        live_refused += !taken;
    }
}

/* Publisher 1 sends to those who stay, event by event at its time, whatever happens. */
static void publish_live(void)
{
    uint64_t now = now_ns();
    while (live_on && live.published < live.events && !failure[0]) {
        uint64_t due = live_start + (uint64_t)((double)live.published * 1e9 / crowd.live_rate);
        if (now < due)
            return;
        post_event(&publishers[1], crowd.live_publish_path, 0, live.published++, now);
    }
}

static void storm_arrived(uint64_t stream, const struct wire *wire)
{
    if (wire->seq < MISSED) {
        if ((int)stream < crowd_size) {
            live.foreign++;
        } else if (ledger_arrive(&live, stream - (uint64_t)crowd_size, wire->seq)) {
            bool calm_then = wire->seq < drop_event;
            if (calm_then && wire->seq >= calm_event)
                hist_add(&calm, net.received_at - wire->time);
            else if (!calm_then && storming)
                hist_add(&stormy, net.received_at - wire->time);
        }
    } else if (ledger_arrive(&missed, stream, wire->seq - MISSED) && (int)stream < crowd_size &&
               missed.next[stream] == missed.events) {
        back++;
        hist_add(&returning, net.received_at - returns[stream]);
    }
}

static void come_later(struct conn *conn)
{
    if (!storming || conn - streams >= crowd_size) {
        closed++;
        return;
    }
    refused_streams++;
    retries[retry_tail % crowd_size].conn = conn;
    retries[retry_tail++ % crowd_size].at = now_ns() + (uint64_t)(RETRY_AFTER * 1e9);
}

static void retry(void)
{
    while (retry_head < retry_tail && retries[retry_head % crowd_size].at <= now_ns())
        net_connect(retries[retry_head++ % crowd_size].conn);
}

/* All connections of the crowd end; what is published before they are back is missed. */
static void drop_crowd(void)
{
    for (int i = 0; i < crowd_size; i++) {
        memcpy(last_ids[i], streams[i].wire.id, sizeof *last_ids);
        net_close(&streams[i]);
        publish_live();
    }
    ready_count -= crowd_size;
    missed.published = missed.events;
    uint64_t start = now_ns();
    int expected = own_posts + 1;
    post(&publishers[0], opt.publish_path, body,
         write_events(body, MISSED, missed.events, now_ns()));
    while (own_posts < expected && !failure[0]) {
        net_turn(1);
        if (since(start) > 30)
            fail("what is to be missed was not taken in 30 s");
    }
    if (own_refused)
        fail("what is to be missed was refused");
}

static void come_back(void)
{
    uint64_t start = now_ns();
    int next = 0, settled = ready_count;
    while (back < crowd_size && since(start) < opt.connect_timeout && !failure[0]) {
        int burst = 64; /* then the sockets are looked after again */
        while (next < crowd_size && burst-- && !failure[0] &&
               next - (ready_count - settled) < crowd.storm_in_flight) {
            returns[next] = now_ns();
            net_connect(&streams[next++]);
        }
        retry();
        if (next < crowd_size) {
            net_turn(0);
        } else {
            turn();
        }
    }
}

static void storm(void)
{
    crowd_size = (int)opt.connections;
    int everybody = crowd_size + (int)crowd.live;
    double longest = opt.connect_timeout + crowd.window + opt.settle + 20;
    retries = calloc((size_t)crowd_size, sizeof *retries);
    returns = calloc((size_t)crowd_size, sizeof *returns);
    last_ids = calloc((size_t)crowd_size, sizeof *last_ids);
    if (!retries || !returns || !last_ids ||
        !ledger_open(&live, (uint64_t)(longest * crowd.live_rate), (uint64_t)crowd.live, false) ||
        !ledger_open(&missed, (uint64_t)crowd.missed, (uint64_t)everybody, false))
        abort();
    drop_event = UINT64_MAX;
    arrived = storm_arrived;
    left = come_later;
    seed();
    publishers[1].publisher = true;
    net_connect(&publishers[1]);
    connect_everybody();
    open_streams(crowd_size, everybody, opt.in_flight);
    answered = storm_answered;
    live_on = true;
    live_start = now_ns();
    net.between = publish_live;
    wait_seconds(opt.warmup);
    calm_event = live.published;
    wait_seconds(crowd.window);
    drop_event = live.published;
    struct usage a = usage_now();
    storming = true;
    drop_crowd();
    double away = since(a.time);
    come_back();
    double seconds = since(a.time);
    struct usage b = usage_now();
    put_shares(&a, SHARES);
    wait_seconds(0.5); /* what was published in the storm belongs to it */
    storming = live_on = false;
    uint64_t start = now_ns();
    while (since(start) < opt.drain && !failure[0] &&
           (live.deliveries < ledger_due(&live) || live_answers < live.published))
        turn();
    wait_seconds(0.2);
    put("live_calm_us_p50", (double)hist_at(&calm, 0.5) / 1e3);
    put("live_calm_us_p99", (double)hist_at(&calm, 0.99) / 1e3);
    put("live_calm_us_max", (double)calm.max / 1e3);
    put("live_storm_us_p50", (double)hist_at(&stormy, 0.5) / 1e3);
    put("live_storm_us_p99", (double)hist_at(&stormy, 0.99) / 1e3);
    put("live_storm_us_max", (double)stormy.max / 1e3);
    put("storm_seconds", seconds);
    put("storm_away_seconds", away);
    put("returns_per_second", per(back, seconds - away));
    put("return_us_p50", (double)hist_at(&returning, 0.5) / 1e3);
    put("return_us_max", (double)returning.max / 1e3);
    put("server_cpu_us_per_return", per((double)(b.server - a.server) / 1e3, back));
    put("broker_cpu_us_per_return", per((double)(b.broker - a.broker) / 1e3, back));
    put("refused_streams", (double)refused_streams);
    put("deliveries", (double)(live.deliveries + missed.deliveries));
    put("lost", (double)(ledger_lost(&live) + ledger_lost(&missed)));
    put("duplicates", (double)(live.duplicates + missed.duplicates));
    put("out_of_order", (double)(live.out_of_order + missed.out_of_order));
    put("foreign", (double)(live.foreign + missed.foreign));
    put("refused", (double)live_refused);
    put("unanswered", (double)(live.published - live_answers));
    put("rss_after_storm", server_rss());
}

#endif
