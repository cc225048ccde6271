/* The account of every event on every stream.
 *
 * Rule: one bit per event and stream, set when the event arrives. A bit that is set
 * already is a duplicate, an event below one that was seen is out of order, a bit that
 * is missing in the end is a loss, unless the server refused the event when published.
 * No I/O, no clock.
 */
#ifndef BENCH_LEDGER_H
#define BENCH_LEDGER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct ledger {
    uint64_t events, streams; /* numbered from 0 */
    uint64_t published;       /* events 0..published-1 are on their way */
    bool unicast;             /* event k goes to stream k mod streams only */
    uint64_t deliveries, duplicates, out_of_order, foreign, refused;
    uint64_t row;       /* bytes per stream in `seen` */
    uint64_t *next;     /* per stream, one above the highest event seen */
    uint8_t *seen, *no; /* no: one bit per refused event */
};

static inline bool ledger_open(struct ledger *l, uint64_t events, uint64_t streams, bool unicast)
{
    *l = (struct ledger){.events = events, .streams = streams, .unicast = unicast};
    l->row = events / 8 + 1;
    l->next = calloc(streams, sizeof *l->next);
    l->seen = calloc(streams, l->row);
    l->no = calloc(1, l->row);
    return l->next && l->seen && l->no;
}

static inline void ledger_close(struct ledger *l)
{
    free(l->next);
    free(l->seen);
    free(l->no);
}

static inline bool ledger_bit(const uint8_t *bits, uint64_t n)
{
    return bits[n / 8] >> (n % 8) & 1;
}

static inline bool ledger_expects(const struct ledger *l, uint64_t stream, uint64_t event)
{
    return event < l->published && (!l->unicast || event % l->streams == stream);
}

/* Books one arrival; true if it is a first delivery. */
static inline bool ledger_arrive(struct ledger *l, uint64_t stream, uint64_t event)
{
    uint8_t *row = l->seen + stream * l->row;
    if (!ledger_expects(l, stream, event)) {
        l->foreign++;
        return false;
    }
    if (ledger_bit(row, event)) {
        l->duplicates++;
        return false;
    }
    row[event / 8] |= (uint8_t)(1u << (event % 8));
    l->deliveries++;
    if (event < l->next[stream])
        l->out_of_order++;
    else
        l->next[stream] = event + 1;
    return true;
}

static inline void ledger_refuse(struct ledger *l, uint64_t event)
{
    l->refused++;
    if (event < l->events)
        l->no[event / 8] |= (uint8_t)(1u << (event % 8));
}

/* Deliveries that are due when everything published and not refused has arrived. */
static inline uint64_t ledger_due(const struct ledger *l)
{
    return (l->published - l->refused) * (l->unicast ? 1 : l->streams);
}

static inline uint64_t ledger_lost(const struct ledger *l)
{
    uint64_t lost = 0;
    for (uint64_t stream = 0; stream < l->streams; stream++)
        for (uint64_t event = 0; event < l->published; event++)
            lost += ledger_expects(l, stream, event) && !ledger_bit(l->no, event) &&
                    !ledger_bit(l->seen + stream * l->row, event);
    return lost;
}

#endif
