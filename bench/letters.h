/* The account of letters: events that have one reader each, sent by many at once.
 *
 * Rule: order is asked for where it is defined. Letters of one sender to one reader
 * keep their order, and so do any two to one reader of which the first was answered
 * before the second was sent; two that were under way together have none.
 * No I/O, no clock.
 */
#ifndef BENCH_LETTERS_H
#define BENCH_LETTERS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct letter {
    uint32_t reader, answered; /* how many had been sent when this was answered; 0: not yet */
    uint8_t sender, seen, refused;
};

struct letters {
    uint64_t sent, room, readers, senders;
    uint64_t arrived, duplicates, foreign, out_of_order, refused, unanswered;
    struct letter *all;
    uint32_t *next; /* per reader and sender, one above the highest that arrived */
    uint32_t *top;  /* per reader, the same of all senders */
};

static inline bool letters_open(struct letters *l, uint64_t room, uint64_t readers,
                                uint64_t senders)
{
    *l = (struct letters){.room = room, .readers = readers, .senders = senders};
    l->all = calloc(room, sizeof *l->all);
    l->next = calloc(readers * senders, sizeof *l->next);
    l->top = calloc(readers, sizeof *l->top);
    return l->all && l->next && l->top;
}

static inline void letters_close(struct letters *l)
{
    free(l->all);
    free(l->next);
    free(l->top);
}

/* The number of a new letter; there must be room. */
static inline uint64_t letters_send(struct letters *l, uint64_t sender, uint64_t reader)
{
    l->all[l->sent].sender = (uint8_t)sender;
    l->all[l->sent].reader = (uint32_t)reader;
    l->unanswered++;
    return l->sent++;
}

static inline void letters_answer(struct letters *l, uint64_t first, uint64_t count, bool taken)
{
    for (uint64_t n = first; n < first + count; n++) {
        l->all[n].answered = (uint32_t)l->sent;
        l->all[n].refused = !taken;
    }
    l->unanswered -= count;
    l->refused += taken ? 0 : count;
}

/* Books one arrival; true if it is a first delivery. */
static inline bool letters_arrive(struct letters *l, uint64_t reader, uint64_t number)
{
    struct letter *letter = l->all + number;
    if (number >= l->sent || letter->reader != reader) {
        l->foreign++;
        return false;
    }
    if (letter->seen) {
        l->duplicates++;
        return false;
    }
    uint32_t *next = l->next + reader * l->senders + letter->sender, *top = l->top + reader;
    letter->seen = 1;
    l->arrived++;
    if (*next > number || (letter->answered && *top > letter->answered))
        l->out_of_order++;
    if (*next <= number)
        *next = (uint32_t)number + 1;
    if (*top <= number)
        *top = (uint32_t)number + 1;
    return true;
}

static inline uint64_t letters_lost(const struct letters *l)
{
    uint64_t lost = 0;
    for (uint64_t n = 0; n < l->sent; n++)
        lost += !l->all[n].seen && !l->all[n].refused;
    return lost;
}

#endif
