/* Tries the parts that could miscount: wire.h, ledger.h, letters.h and the histogram.
 *
 * Rule: a stream is read to the same news however it is cut: for every chunk size, for
 * every size of the pieces read, and for every single place of one cut.
 * The driver runs this before it measures. Exit 0, or 1 and one line per failure.
 */
#define _GNU_SOURCE
#include "ledger.h"
#include "letters.h"
#include "measure.h"
#include "wire.h"

static int failures;

static void check(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "selftest: %s\n", what);
        failures++;
    }
}

/* The news of one stream as text: A answered, b block, e<n>/<t> event, c, u, E, X. */
static char told[1024];

static void note(void *owner, struct wire *w, enum wire_news news)
{
    static const char letters[] = "AbecuEX";
    (void)owner;
    size_t len = strlen(told);
    if (news == WIRE_EVENT)
        snprintf(told + len, sizeof told - len, "e%llu/%llu ", (unsigned long long)w->seq,
                 (unsigned long long)w->time);
    else
        snprintf(told + len, sizeof told - len, "%c ", letters[news]);
}

static const char SSE[] =
    "retry: 3000\nid: 17-0\n\n"
    ": a comment\n\n"
    "id: 17-1\nevent: bench\ndata: {\"n\":0,\"t\":123456789,\"pad\":\"xxxxxx\"}\n\n"
    "event: gateway.gap\ndata: {\"requested\":\"1-0\"}\n\n"
    "data:{\"n\": 12,\"pad\":\"\",\"t\": 9}\r\n\r\n"
    "event: other\ndata: hello\n\n"
    "data: {}\n\n"
    "data: {\"channel\":\"c\",\"pub\":{\"data\":{\"n\":3,\"t\":4},\"offset\":5}}\n\n"
    "event: bench\ndata: {\"n\":345,\"t\":18446744073709551615,\"pad\":\"\"}\n\n"
    "data: {\"n\":9,\"t\":9,\"pad\":\"an unfinished last block is no event";
static const char SSE_TOLD[] = "A b b e0/123456789 c e12/9 u b e3/4 e345/18446744073709551615 E ";

static size_t chunked_stream(char *out, size_t chunk)
{
    size_t len = (size_t)sprintf(out, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                      "transfer-encoding: chunked\r\n\r\n");
    for (size_t at = 0; at < sizeof SSE - 1; at += chunk) {
        size_t n = sizeof SSE - 1 - at < chunk ? sizeof SSE - 1 - at : chunk;
        len += (size_t)sprintf(out + len, "%zx;ext=1\r\n%.*s\r\n", n, (int)n, SSE + at);
    }
    return len + (size_t)sprintf(out + len, "0\r\n\r\n");
}

/* Reads `stream` in pieces of `piece` bytes, the first of them `first` bytes long. */
static void expect(const char *stream, size_t len, size_t first, size_t piece, const char *wanted)
{
    struct wire wire;
    wire_reset(&wire);
    told[0] = '\0';
    for (size_t at = 0, n; at < len; at += n) {
        n = at == 0 && first > 0 ? first : piece;
        n = n < len - at ? n : len - at;
        char *copy = malloc(n); /* its own block: an overrun shows under a sanitizer */
        memcpy(copy, stream + at, n);
        wire_feed(&wire, copy, n, NULL, note);
        free(copy);
    }
    if (strcmp(told, wanted) != 0) {
        fprintf(stderr, "selftest: first %zu, pieces of %zu: told %s, not %s\n", first, piece, told,
                wanted);
        failures++;
    }
}

static void try_stream(void)
{
    static char stream[32 * 1024];
    for (size_t chunk = 1; chunk < sizeof SSE; chunk++) {
        size_t len = chunked_stream(stream, chunk);
        for (size_t piece = 1; piece <= 64; piece++)
            expect(stream, len, 0, piece, SSE_TOLD);
        for (size_t first = 1; first < len; first++)
            expect(stream, len, first, len, SSE_TOLD);
    }
}

static void try_answers(void)
{
    static const char answers[] = "HTTP/1.1 202 Accepted\r\nContent-Length: 4\r\n\r\n{\n\n}"
                                  "HTTP/1.1 204 No Content\r\n\r\n"
                                  "HTTP/1.1 503 Later\r\ncontent-length:0\r\n\r\n"
                                  "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  "2\r\n{}\r\n0\r\nX-Trailer: 1\r\n\r\n"
                                  "garbage\r\n";
    for (size_t piece = 1; piece < sizeof answers; piece++)
        expect(answers, sizeof answers - 1, 0, piece, "A E A E A E A E X ");
}

static void try_ledger(void)
{
    struct ledger l;
    check(ledger_open(&l, 10, 2, false), "a ledger opens");
    l.published = 3;
    check(ledger_arrive(&l, 0, 0) && ledger_arrive(&l, 0, 2), "first arrivals count");
    check(ledger_arrive(&l, 0, 1) && l.out_of_order == 1, "an earlier event is out of order");
    check(!ledger_arrive(&l, 0, 1) && l.duplicates == 1, "a second arrival is a duplicate");
    check(!ledger_arrive(&l, 0, 3) && l.foreign == 1, "an event not yet published is foreign");
    check(l.deliveries == 3 && ledger_lost(&l) == 3, "what has not arrived is lost");
    ledger_refuse(&l, 2);
    check(ledger_lost(&l) == 2 && ledger_due(&l) == 4, "what was refused is not lost");
    ledger_close(&l);
    check(ledger_open(&l, 10, 2, true), "a ledger opens");
    l.published = 10;
    check(ledger_arrive(&l, 1, 7) && !ledger_arrive(&l, 0, 7), "an event has one stream");
    check(ledger_lost(&l) == 9 && ledger_due(&l) == 10, "only one stream loses it");
    ledger_close(&l);
}

/* The last id of a stream, wherever a packet cuts it. */
static void try_ids(void)
{
    static const char stream[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
                                 "id: 1764000000000-0\n\nid:1764000000001-12\r\n\r\ndata: x\n\n";
    for (size_t piece = 1; piece < sizeof stream; piece++) {
        struct wire wire;
        char copy[sizeof stream];
        memcpy(copy, stream, sizeof stream);
        wire_reset(&wire);
        for (size_t at = 0; at < sizeof stream - 1; at += piece)
            wire_feed(&wire, copy + at,
                      piece < sizeof stream - 1 - at ? piece : sizeof stream - 1 - at, NULL, note);
        check(strcmp(wire.id, "1764000000001-12") == 0, "the last id is kept");
    }
    told[0] = '\0';
}

static void try_letters(void)
{
    struct letters l;
    check(letters_open(&l, 10, 2, 2), "an account of letters opens");
    uint64_t a = letters_send(&l, 0, 1), b = letters_send(&l, 1, 1);
    check(letters_arrive(&l, 1, b) && letters_arrive(&l, 1, a), "letters arrive");
    check(l.out_of_order == 0, "two that were under way together have no order");
    check(!letters_arrive(&l, 1, a) && l.duplicates == 1, "a second arrival is a duplicate");
    check(!letters_arrive(&l, 0, a) && l.foreign == 1, "a letter has one reader");
    check(!letters_arrive(&l, 0, 9) && l.foreign == 2, "a letter not yet sent is foreign");
    letters_answer(&l, a, 1, true);
    letters_answer(&l, b, 1, true);
    uint64_t c = letters_send(&l, 0, 1), d = letters_send(&l, 0, 1);
    check(letters_arrive(&l, 1, d) && letters_arrive(&l, 1, c), "letters arrive");
    check(l.out_of_order == 1, "one sender's letters have an order");
    uint64_t e = letters_send(&l, 0, 0);
    letters_answer(&l, e, 1, true);
    uint64_t f = letters_send(&l, 1, 0);
    check(letters_arrive(&l, 0, f) && letters_arrive(&l, 0, e), "letters arrive");
    check(l.out_of_order == 2, "a letter sent after another's answer comes after it");
    uint64_t g = letters_send(&l, 0, 0), h = letters_send(&l, 0, 0);
    letters_answer(&l, h, 1, false);
    check(letters_lost(&l) == 1 && l.refused == 1 && l.unanswered == 4, "what is refused is not lost");
    check(letters_arrive(&l, 0, g) && letters_lost(&l) == 0, "what has not arrived is lost");
    letters_close(&l);
}

static void try_histogram(void)
{
    static struct hist h;
    for (uint64_t i = 1; i <= 1000000; i++)
        hist_add(&h, i);
    check(hist_at(&h, 0.5) >= 500000 && hist_at(&h, 0.5) < 508000, "the median is right");
    check(hist_at(&h, 0.99) >= 990000 && hist_at(&h, 1) == 1000000, "the tail is right");
    hist_add(&h, UINT64_MAX);
    check(h.max == UINT64_MAX && hist_at(&h, 1) == UINT64_MAX, "any value has a place");
}

int main(void)
{
    try_stream();
    try_answers();
    try_ids();
    try_ledger();
    try_letters();
    try_histogram();
    check(process_cpu_ns(getpid()) > 0 && process_rss(getpid()) > 0, "/proc can be read");
    return failures > 0;
}
