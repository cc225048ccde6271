/* Reads HTTP/1.1 answers and the Server-Sent Events inside them.
 *
 * Rule: every byte goes through one state machine, so it makes no difference where
 * a packet, an HTTP chunk or a joined write happens to cut the stream. Bytes are cut
 * into lines; a line that is all in the buffer is read in place, a line that is cut
 * is gathered in `line`. Only the first WIRE_LINE bytes of a line are kept: sequence
 * number and time stand at its beginning.
 * No I/O, no clock, no allocation. Needs _GNU_SOURCE.
 */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { WIRE_LINE = 256, WIRE_ID = 64 };

enum wire_state {
    WIRE_HEAD,      /* status line and headers */
    WIRE_SIZE,      /* a chunk's size, up to its line end */
    WIRE_CHUNK,     /* `left` bytes of a chunk */
    WIRE_CHUNK_END, /* the line end behind a chunk */
    WIRE_TRAILER,   /* behind the last chunk, up to an empty line */
    WIRE_LENGTH,    /* `left` bytes of a body with Content-Length */
    WIRE_UNTIL_CLOSE,
};

/* What is told to the owner, each once, in the order of the stream. */
enum wire_news {
    WIRE_ANSWERED, /* the response head is complete: see `status` */
    WIRE_BLOCK,    /* an SSE block without data (retry, id, comment) ended */
    WIRE_EVENT,    /* a benchmark event ended: see `seq` and `time` */
    WIRE_CONTROL,  /* an event of the gateway's own (gateway.*) ended */
    WIRE_UNPARSED, /* an event with data that is not the benchmark's */
    WIRE_END,      /* the response body is complete */
    WIRE_BROKEN,   /* not HTTP; feed nothing more */
};

struct wire;
typedef void wire_listener(void *owner, struct wire *wire, enum wire_news news);

struct wire {
    enum wire_state state;
    bool chunked, sized;               /* framing named by the head */
    bool has_data, has_event, control; /* of the SSE block being read */
    bool size_digits, size_ended, broken;
    int status; /* 0 until the status line was read */
    uint16_t line_len;
    uint64_t left;
    uint64_t seq, time; /* of the last event */
    char id[WIRE_ID];   /* the last `id:` of the stream; empty when there was none */
    char line[WIRE_LINE];
};

static inline void wire_reset(struct wire *w)
{
    memset(w, 0, sizeof *w);
}

/* The unsigned number behind `name` in a line, e.g. `"n":17`. */
static inline bool wire_number(const char *line, size_t len, const char *name, uint64_t *out)
{
    const char *end = line + len, *p = memmem(line, len, name, strlen(name));
    if (!p)
        return false;
    for (p += strlen(name); p < end && *p == ' '; p++)
        ;
    if (p == end || !isdigit((unsigned char)*p))
        return false;
    for (*out = 0; p < end && isdigit((unsigned char)*p); p++)
        *out = *out * 10 + (uint64_t)(*p - '0');
    return true;
}

static inline bool wire_starts(const char *line, size_t len, const char *prefix)
{
    size_t n = strlen(prefix);
    return len >= n && memcmp(line, prefix, n) == 0;
}

/* One too long to be kept whole is not kept: half a cursor is none. */
static inline void wire_keep_id(struct wire *w, const char *id, size_t len)
{
    if (len > 0 && *id == ' ')
        id++, len--;
    if (len >= WIRE_ID)
        len = 0;
    memcpy(w->id, id, len);
    w->id[len] = '\0';
}

static inline void wire_sse_line(struct wire *w, const char *line, size_t len, void *owner,
                                 wire_listener *tell)
{
    if (len == 0) {
        enum wire_news news = w->control     ? WIRE_CONTROL
                              : w->has_event ? WIRE_EVENT
                              : w->has_data  ? WIRE_UNPARSED
                                             : WIRE_BLOCK;
        w->has_data = w->has_event = w->control = false;
        tell(owner, w, news);
    } else if (len == 8 && memcmp(line, "data: {}", 8) == 0) {
        /* Centrifugo's ping: counts as a comment */
    } else if (wire_starts(line, len, "data:")) {
        w->has_data = true;
        if (wire_number(line, len, "\"n\":", &w->seq) && wire_number(line, len, "\"t\":", &w->time))
            w->has_event = true;
    } else if (wire_starts(line, len, "id:")) {
        wire_keep_id(w, line + 3, len - 3);
    } else if (wire_starts(line, len, "event: gateway.")) {
        w->control = true;
    }
}

static inline void wire_break(struct wire *w, void *owner, wire_listener *tell)
{
    w->broken = true;
    tell(owner, w, WIRE_BROKEN);
}

/* The response is complete: the next byte begins another one. */
static inline void wire_finish(struct wire *w, void *owner, wire_listener *tell)
{
    tell(owner, w, WIRE_END);
    wire_reset(w);
}

static inline void wire_head_line(struct wire *w, char *line, size_t len, void *owner,
                                  wire_listener *tell)
{
    if (w->status == 0) {
        if (!wire_starts(line, len, "HTTP/1.") || len < 12)
            wire_break(w, owner, tell);
        else
            w->status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
    } else if (len > 0) {
        if (len >= 15 && strncasecmp(line, "content-length:", 15) == 0) {
            w->sized = true;
            w->left = 0;
            for (size_t i = 15; i < len; i++)
                if (isdigit((unsigned char)line[i]))
                    w->left = w->left * 10 + (uint64_t)(line[i] - '0');
        } else if (len >= 18 && strncasecmp(line, "transfer-encoding:", 18) == 0) {
            w->chunked = memmem(line, len, "chunked", 7) != NULL;
        }
    } else {
        tell(owner, w, WIRE_ANSWERED);
        w->state = w->chunked ? WIRE_SIZE : w->sized ? WIRE_LENGTH : WIRE_UNTIL_CLOSE;
        if (w->status == 204 || (w->state == WIRE_LENGTH && w->left == 0))
            wire_finish(w, owner, tell);
    }
}

/* Takes bytes up to and with the next line end, and reads the line if it is whole. */
static inline size_t wire_take_line(struct wire *w, char *buf, size_t len, void *owner,
                                    wire_listener *tell)
{
    char *newline = memchr(buf, '\n', len), *line = buf;
    size_t taken = newline ? (size_t)(newline - buf) : len, line_len = taken;
    if (w->line_len > 0 || !newline) {
        size_t room = WIRE_LINE - w->line_len, keep = taken < room ? taken : room;
        memcpy(w->line + w->line_len, buf, keep);
        w->line_len += (uint16_t)keep;
        if (!newline)
            return taken;
        line = w->line;
        line_len = w->line_len;
        w->line_len = 0;
    }
    if (line_len > 0 && line[line_len - 1] == '\r')
        line_len--;
    if (line_len > WIRE_LINE)
        line_len = WIRE_LINE;
    if (w->state == WIRE_HEAD)
        wire_head_line(w, line, line_len, owner, tell);
    else if (w->state != WIRE_TRAILER)
        wire_sse_line(w, line, line_len, owner, tell);
    else if (line_len == 0)
        wire_finish(w, owner, tell);
    return taken + 1;
}

static inline void wire_size_byte(struct wire *w, char c, void *owner, wire_listener *tell)
{
    if (c == '\n') {
        if (!w->size_digits) {
            wire_break(w, owner, tell);
            return;
        }
        w->state = w->left > 0 ? WIRE_CHUNK : WIRE_TRAILER;
        w->size_digits = w->size_ended = false;
        if (w->state == WIRE_TRAILER)
            w->line_len = 0; /* an SSE line cut by the end of the body is no line */
    } else if (isxdigit((unsigned char)c) && !w->size_ended) {
        w->left = w->left * 16 + (uint64_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
        w->size_digits = true;
    } else if (c == '\r' || c == ';' || c == ' ') {
        w->size_ended = true;
    } else if (!w->size_ended) {
        wire_break(w, owner, tell);
    }
}

static inline void wire_feed(struct wire *w, char *buf, size_t len, void *owner,
                             wire_listener *tell)
{
    char *end = buf + len;
    while (buf < end && !w->broken) {
        size_t n = (size_t)(end - buf);
        switch (w->state) {
        case WIRE_HEAD:
        case WIRE_TRAILER:
        case WIRE_UNTIL_CLOSE:
            buf += wire_take_line(w, buf, n, owner, tell);
            break;
        case WIRE_SIZE:
            wire_size_byte(w, *buf++, owner, tell);
            break;
        case WIRE_CHUNK:
            n = wire_take_line(w, buf, n < w->left ? n : w->left, owner, tell);
            buf += n;
            if ((w->left -= n) == 0)
                w->state = WIRE_CHUNK_END;
            break;
        case WIRE_CHUNK_END:
            if (*buf == '\n')
                w->state = WIRE_SIZE;
            else if (*buf != '\r')
                wire_break(w, owner, tell);
            buf++;
            break;
        case WIRE_LENGTH: /* a plain answer: its body is of no interest */
            n = n < w->left ? n : w->left;
            buf += n;
            if ((w->left -= n) == 0)
                wire_finish(w, owner, tell);
            break;
        }
    }
}

#endif
