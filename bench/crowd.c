/* Many users at once: what a server does besides fanning out.
 *
 *   crowd idle     every user connects; then nothing happens
 *   crowd publish  every user connects; publishers post to random ones, each its next
 *                  event when the last one was answered; singly, then in batches
 *   crowd replay   clients come with the id before a history, and are given all of it
 *   crowd storm    everyone is dropped and comes back with their last id, while others
 *                  stay and go on listening
 *
 * Every event is accounted for. One thread. Prints one JSON object; exit 2 if it did
 * not run. Losses are for the driver to judge: they are figures here.
 */
#define _GNU_SOURCE
#include "crowd.h"
#include "ledger.h"
#include "letters.h"

static const uint64_t MISSED = 1ull << 40; /* numbers of the broadcasts nobody was there for */
static const char *NO_PREFIX[] = {"server_cpu_share", "broker_cpu_share", "loadgen_cpu_share",
                                  "others_cpu_share"};

/* What the workload does when an event came, a publisher was answered, a stream left. */
static void (*arrived)(uint64_t stream, const struct wire *wire);
static void (*answered)(int publisher, bool taken);
static void (*left)(struct conn *conn);
static char *body;

/* --- shared steps ----------------------------------------------------------------- */

static int own_posts, own_refused; /* answers to what is not measured */

static void count_answer(int publisher, bool taken)
{
    (void)publisher;
    own_posts++;
    own_refused += !taken;
}

static void post_and_wait(const char *path, size_t len)
{
    uint64_t start = now_ns();
    void (*before)(int, bool) = answered;
    int expected = own_posts + 1;
    answered = count_answer;
    post(&publishers[0], path, body, len);
    while (own_posts < expected && !failure[0]) {
        net_turn(1, NULL);
        if (since(start) > 10)
            fail("a publish was not answered in 10 s");
    }
    if (own_refused)
        fail("a publish to %s was refused", path);
    answered = before;
}

/* One event to nobody: from then on there is a position to tell those who connect. */
static void seed(void)
{
    connect_publishers(1);
    if (*crowd.seed_path && !failure[0])
        post_and_wait(crowd.seed_path, write_event(body, 0, 0, -1));
}

/* Everybody connects, and what that took is put down. */
static void connect_everybody(void)
{
    double rss = server_rss(), count = opt.connections;
    struct usage a = usage_now();
    open_streams(0, (int)opt.connections, opt.in_flight);
    double seconds = since(a.time), server = (double)(usage_now().server - a.server);
    put("connect_seconds", seconds);
    put("connects_per_second", per(ready_count, seconds));
    put("connect_us_p50", (double)hist_at(&connecting, 0.5) / 1e3);
    put("connect_us_p99", (double)hist_at(&connecting, 0.99) / 1e3);
    put("server_cpu_us_per_connect", server / 1e3 / count);
    wait_seconds(opt.settle, NULL);
    put("rss_per_connection", (server_rss() - rss) / count);
}

/* --- idle ------------------------------------------------------------------------- */

static void idle(void)
{
    seed();
    struct usage all = usage_now();
    connect_everybody();
    static const char *const names[] = {"idle_cpu_share", "idle_broker_cpu_share", NULL, NULL};
    struct usage a = usage_now();
    wait_seconds(crowd.window, NULL);
    put_shares(&a, (const char **)names);
    put_shares(&all, NO_PREFIX);
}

/* --- publish ---------------------------------------------------------------------- */

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

static void post_letters(int publisher)
{
    char path[1024];
    uint64_t now = now_ns(), reader = 0;
    size_t len = 0;
    if (letters.sent + batch_size > letters.room) {
        fail("more than %llu events", (unsigned long long)letters.room);
        return;
    }
    request[publisher].first = letters.sent;
    request[publisher].count = batch_size;
    request[publisher].sent_at = now;
    for (uint64_t i = 0; i < batch_size; i++) {
        reader = random_below(letters.readers);
        uint64_t number = letters_send(&letters, (uint64_t)publisher, reader);
        if (batch_size > 1)
            body[len++] = i ? ',' : '[';
        len += write_event(body + len, number, now, batch_size > 1 ? (long)reader : -1);
    }
    if (batch_size > 1)
        body[len++] = ']';
    fill(path, sizeof path, batch_size > 1 ? crowd.batch_path : opt.publish_path, reader);
    post(&publishers[publisher], path, body, len);
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
static void post_for_a_while(uint64_t batch, int count, const char *names[9])
{
    batch_size = batch;
    posting = delivering = (struct hist){0};
    events_answered = 0;
    posting_ends = now_ns() + (uint64_t)((opt.warmup + opt.seconds) * 1e9);
    for (int i = 0; i < count; i++)
        post_letters(i);
    wait_seconds(opt.warmup, NULL);
    window_first = letters.sent;
    struct usage a = usage_now();
    measuring = true;
    wait_seconds(opt.seconds, NULL);
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
        turn(NULL);
    wait_seconds(0.2, NULL); /* duplicates would come now */
}

static void publish(void)
{
    static const char *single[] = {
        "publishes_per_second",   "publish_us_p50",        "publish_us_p99",
        "delivery_us_p50",        "delivery_us_p99",       "server_cpu_us_per_publish",
        "broker_cpu_us_per_publish", "publish_server_cpu_share", "publish_loadgen_cpu_share"};
    static const char *batches[] = {
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
    put_shares(&a, NO_PREFIX);
    put("published", (double)letters.sent);
    put("deliveries", (double)letters.arrived);
    put("lost", (double)letters_lost(&letters));
    put("duplicates", (double)letters.duplicates);
    put("out_of_order", (double)letters.out_of_order);
    put("foreign", (double)letters.foreign);
    put("refused", (double)letters.refused);
    put("unanswered", (double)letters.unanswered);
}

/* --- replay ----------------------------------------------------------------------- */

static struct ledger history;
static struct hist finishing;
static uint64_t scouted, finished, last_arrival;
static char last_id[WIRE_ID];
static int scout; /* the stream that only fetched the id */

static void history_arrived(uint64_t stream, const struct wire *wire)
{
    if ((int)stream == scout) {
        scouted++;
    } else if (ledger_arrive(&history, stream, wire->seq)) {
        last_arrival = net.received_at;
        if (history.next[stream] == history.events) {
            finished++;
            hist_add(&finishing, net.received_at - streams[stream].opened_at);
        }
    }
}

static void write_history(void)
{
    uint64_t start = now_ns(), step = (uint64_t)crowd.batch;
    for (uint64_t n = 0; n < history.events && !failure[0]; n += step) {
        uint64_t count = history.events - n < step ? history.events - n : step;
        post_and_wait(opt.publish_path, write_events(body, n, count, now_ns()));
    }
    history.published = history.events;
    while (crowd.warm && scouted < history.events && !failure[0]) {
        net_turn(1, NULL);
        if (since(start) > opt.connect_timeout)
            fail("the history was published but only %d of it heard", (int)scouted);
    }
}

static void replay(void)
{
    int count = (int)opt.connections;
    double all = crowd.events * opt.connections;
    if (!ledger_open(&history, (uint64_t)crowd.events, (uint64_t)count, false))
        abort();
    scout = count;
    arrived = history_arrived;
    seed();
    open_streams(scout, scout + 1, 1);
    memcpy(last_id, streams[scout].wire.id, sizeof last_id);
    if (!crowd.warm) {
        net_close(&streams[scout]);
        wait_seconds(crowd.pause, NULL);
    }
    write_history();
    ready_count = 0;
    connecting = (struct hist){0};
    wait_seconds(opt.settle, NULL);
    if (failure[0])
        return;
    net.reads = net.bytes = 0;
    struct usage a = usage_now();
    for (int i = 0; i < count; i++)
        net_connect(&streams[i]);
    while (history.deliveries < ledger_due(&history) && since(a.time) < opt.connect_timeout &&
           !failure[0])
        turn(NULL);
    struct usage b = usage_now();
    double seconds = last_arrival > a.time ? (double)(last_arrival - a.time) / 1e9 : 0;
    put_shares(&a, NO_PREFIX);
    wait_seconds(0.2, NULL); /* duplicates would come now */
    put("replay_seconds", seconds);
    put("replayed_per_second", per((double)history.deliveries, seconds));
    put("finish_us_p50", (double)hist_at(&finishing, 0.5) / 1e3);
    put("finish_us_max", (double)finishing.max / 1e3);
    put("first_bytes_us_p50", (double)hist_at(&connecting, 0.5) / 1e3);
    put("server_cpu_us_per_event", (double)(b.server - a.server) / 1e3 / all);
    put("broker_cpu_us_per_event", (double)(b.broker - a.broker) / 1e3 / all);
    put("bytes_per_event", (double)net.bytes / all);
    put("deliveries", (double)history.deliveries);
    put("lost", (double)ledger_lost(&history));
    put("duplicates", (double)history.duplicates);
    put("out_of_order", (double)history.out_of_order);
    put("foreign", (double)history.foreign);
}

/* --- storm ------------------------------------------------------------------------ */

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
        static char event[MAX_BODY + 512];
        post(&publishers[1], crowd.live_publish_path, event,
             write_event(event, live.published, now, -1));
        live.published++;
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
        net_turn(1, publish_live);
        publish_live();
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
            net_turn(0, publish_live);
            publish_live();
        } else {
            turn(publish_live);
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
    wait_seconds(opt.warmup, publish_live);
    calm_event = live.published;
    wait_seconds(crowd.window, publish_live);
    drop_event = live.published;
    struct usage a = usage_now();
    storming = true;
    drop_crowd();
    double away = since(a.time);
    come_back();
    double seconds = since(a.time);
    struct usage b = usage_now();
    put_shares(&a, NO_PREFIX);
    wait_seconds(0.5, publish_live); /* what was published in the storm belongs to it */
    storming = live_on = false;
    uint64_t start = now_ns();
    while (since(start) < opt.drain && !failure[0] &&
           (live.deliveries < ledger_due(&live) || live_answers < live.published))
        turn(NULL);
    wait_seconds(0.2, NULL);
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

/* --- what happens on a connection -------------------------------------------------- */

static void connected(struct conn *conn)
{
    int i = (int)(conn - streams);
    if (conn->publisher)
        return;
    if (last_ids && storming && i < crowd_size)
        subscribe(conn, opt.path, last_ids[i]);
    else if (last_ids && i >= crowd_size)
        subscribe(conn, crowd.live_path, "");
    else
        subscribe(conn, opt.path, i == scout ? "" : last_id);
}

static void gone(struct conn *conn)
{
    if (conn->publisher)
        fail("the server closed a publisher connection");
    else if (left)
        left(conn);
    else if (!conn->ready)
        fail("stream %d was closed before it was open", (int)(conn - streams));
    else
        closed++;
}

static void stream_news(struct conn *conn, struct wire *wire, enum wire_news news)
{
    if (conn->fd < 0)
        return;
    if (!conn->ready && opens(wire, news))
        opened(conn);
    if (news == WIRE_EVENT && arrived)
        arrived((uint64_t)(conn - streams), wire);
    else if (news == WIRE_ANSWERED && wire->status != 200 && storming)
        net_lost(conn);
    else if (news == WIRE_ANSWERED && wire->status != 200)
        fail("stream %d was answered %d", (int)(conn - streams), wire->status);
    else if (news == WIRE_CONTROL)
        controls++;
    else if (news == WIRE_UNPARSED)
        unparsed++;
    else if (news == WIRE_BROKEN || news == WIRE_END)
        net_lost(conn);
}

static void heard(void *owner, struct wire *wire, enum wire_news news)
{
    static bool taken[MAX_PUBLISHERS];
    struct conn *conn = owner;
    if (!conn->publisher) {
        stream_news(conn, wire, news);
        return;
    }
    int publisher = (int)(conn - publishers);
    if (news == WIRE_BROKEN)
        net_lost(conn);
    else if (news == WIRE_ANSWERED)
        taken[publisher] = wire->status / 100 == 2;
    else if (news == WIRE_END && answered == NULL)
        count_answer(publisher, taken[publisher]);
    else if (news == WIRE_END)
        answered(publisher, taken[publisher]);
}

static void prepare(void)
{
    struct rlimit limit;
    stream_count = (int)(opt.connections + crowd.live + 1);
    scout = -1;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if ((double)stream_count + MAX_PUBLISHERS + 16 > (double)limit.rlim_cur)
        fail("%d connections are more than the descriptor limit", stream_count);
    uint64_t events = (uint64_t)(crowd.batch > crowd.missed ? crowd.batch : crowd.missed);
    streams = calloc((size_t)stream_count, sizeof *streams);
    body = malloc(room_for(events > 1 ? events : 1));
    if (!streams || !body)
        abort();
    net.news = heard;
    net.connected = connected;
    net.gone = gone;
    for (int i = 0; i < stream_count; i++)
        streams[i].fd = -1;
    for (int i = 0; i < MAX_PUBLISHERS; i++)
        publishers[i].fd = -1;
    if (!net_open(opt.host, (int)opt.port))
        fail("--host wants a numeric IPv4 address");
    if (opt.pid && !process_rss((pid_t)opt.pid))
        fail("there is no process %d", (int)opt.pid);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } workloads[] = {{"idle", idle}, {"publish", publish}, {"replay", replay}, {"storm", storm}};
    bool good = read_arguments(argc, argv);
    prctl(PR_SET_TIMERSLACK, 1);
    for (size_t i = 0; good && i < sizeof workloads / sizeof *workloads; i++) {
        if (strcmp(workloads[i].name, crowd.workload) != 0)
            continue;
        prepare();
        if (!failure[0])
            workloads[i].run();
        put("closed", (double)closed);
        put("unparsed", (double)unparsed);
        put("control_events", (double)controls);
        return print_report();
    }
    fputs(CROWD_USAGE, stderr);
    fputs(USAGE, stderr);
    return 2;
}
