/* Frames of JSON read into columns in one walk over their bytes, by a description of the fields to be read.
 *
 * Contains: the JSON grammar, numbers and words into columns, levels of order books into lists, and the fields that no
 * column holds as JSON text. Does not contain: which field is which column (program.py compiles it into the nodes below),
 * UTF-8, anything of Python's (native.py calls this with the addresses of NumPy arrays and Arrow buffers).
 *
 * A frame that is not understood in full does not fit, and the exchange's record parser decides about it. Whatever is
 * rare (an escape, a field twice, a number of 19 decimals) is therefore left out here: it costs time, never a digit.
 *
 * A newline follows each frame, and PADDING readable bytes follow the data. No token holds a newline, so that a token
 * which is not complete ends at its frame's end.
 */
#include <stdint.h>
#include <string.h>

typedef unsigned __int128 u128;

/* What a node is; program.py has the same numbers. */
enum { OBJECT = 0, POSITIONS = 1, LEVELS = 2, DECIMAL = 3, INTEGER = 4, WORD = 5, SKIPPED = 6, REFUSED = 7 };
enum {
    KEEP_UNKNOWN = 1,    /* fields without a node go into the row's extra */
    KEEP_WHOLE = 2,      /* a container that holds more than its nodes goes into the row's extra as a whole */
    EMPTY_IS_NULL = 4,   /* an empty text is no value */
    EVENT = 8,           /* each container here is a row */
    ONE = 16,            /* EVENT: it stands by itself */
    MANY = 32,           /* EVENT: it stands in an array of them */
    NEVER_NULL = 64,     /* null does not fit */
    BY_NAME = 128,       /* LEVELS: a level is an object, else an array */
    UNPADDED = 256,      /* LEVELS: a price and a size that are both zero are no level */
};
/* Decimals have this many places, and so many digits before the point. */
enum { SCALE = 18, WHOLE = 20, MOST_DIGITS = 38 };
enum { DEEPEST = 16, MOST_UNKNOWN = 32, MOST_NUMBERS = 8, LONGEST_INTEGER = 18 };

struct node {
    int32_t kind;
    int32_t flags;
    int32_t first;      /* its children: fields by name, or positions of an array */
    int32_t count;
    int32_t slot;       /* DECIMAL, INTEGER, WORD: where the values go; LEVELS: its first list */
    int32_t guess;      /* the child that came first the last time */
    uint64_t required;  /* children that must be there and not null, a bit each */
    uint64_t lengths;   /* POSITIONS: how long it may be, a bit each */
};

/* A field's name with its closing quotation mark: the first eight bytes as a word, and all of it. */
struct child {
    uint64_t word;
    uint64_t mask;
    const uint8_t *name;
    int64_t length;
    int32_t node;       /* LEVELS: the number of the value */
    int32_t next;       /* the child that followed the last time */
};

struct slot {
    void *values;       /* DECIMAL 16 bytes, INTEGER 8, WORD (the number of its word) 4 */
    uint8_t *valid;     /* 1 where there is a value */
    int64_t *words;     /* WORD: where each different word begins and ends */
    int32_t *table;     /* WORD: the numbers of words by their hash, from 1; 0 where there is none */
    int64_t mask;       /* WORD: the size of the table less one */
    int64_t count;      /* WORD: words found */
    int64_t of_frame;   /* a value of the frame, else of each row */
    int64_t last;       /* WORD: the number of the last word, -1 at first */
    int64_t capacity;   /* WORD: how many there is room for */
};

/* One side of an order book: prices and sizes of all rows, and where each row's begin. */
struct list {
    u128 *prices;
    u128 *sizes;
    int32_t *offsets;
    uint8_t *valid;
    int64_t count;
    int64_t capacity;
};

struct output {
    struct slot *slots;
    int64_t slot_count;
    struct list *lists;
    int64_t list_count;
    int32_t *frames;         /* of each row: the number of its frame, and which of the frame's rows it is */
    int32_t *items;
    int64_t rows;
    int64_t capacity;
    uint8_t *extra;
    int32_t *extra_offsets;
    uint8_t *extra_valid;
    int64_t extra_length;
    int64_t extra_capacity;
};

struct run {
    const uint8_t *data;
    const uint8_t *end;      /* of the frame */
    struct node *nodes;
    struct child *children;
    struct output *out;
    int64_t frame;
    int32_t item;
    int32_t has_extra;
    int32_t more;            /* the container just read holds more than its nodes, and is to be kept */
    int32_t full;            /* a buffer is too small: 1 rows, 2 levels, 3 extra */
};

static const uint64_t POWERS[] = {
    1ULL, 10ULL, 100ULL, 1000ULL, 10000ULL, 100000ULL, 1000000ULL, 10000000ULL, 100000000ULL, 1000000000ULL,
    10000000000ULL, 100000000000ULL, 1000000000000ULL, 10000000000000ULL, 100000000000000ULL, 1000000000000000ULL,
    10000000000000000ULL, 100000000000000000ULL, 1000000000000000000ULL, 10000000000000000000ULL,
};

static inline int is_digit(uint8_t c) { return (uint8_t)(c - '0') < 10; }

static inline const uint8_t *space(const struct run *r, const uint8_t *p) {
    while (*p <= ' ' && p < r->end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
    return p;
}

/* Eight bytes as a word of text: are they digits, and which number are they? */
static inline int are_digits(uint64_t eight) {
    return ((eight & 0xF0F0F0F0F0F0F0F0ULL) | (((eight + 0x0606060606060606ULL) & 0xF0F0F0F0F0F0F0F0ULL) >> 4)) ==
           0x3333333333333333ULL;
}

static inline uint64_t of_digits(uint64_t eight) {
    eight = (eight & 0x0F0F0F0F0F0F0F0FULL) * 2561 >> 8;
    eight = (eight & 0x00FF00FF00FF00FFULL) * 6553601 >> 16;
    return (eight & 0x0000FFFF0000FFFFULL) * 42949672960001ULL >> 32;
}

/* A number as JSON spells it: its digits, how many of them stand behind the point, its exponent. */
struct number {
    u128 digits;
    int32_t count;    /* digits, without leading zeros */
    int32_t fraction;
    int32_t exponent;
    int32_t negative;
    int32_t plain;    /* no point and no exponent */
};

static inline const uint8_t *scan(const uint8_t *p, struct number *n) {
    n->negative = *p == '-';
    p += n->negative;
    if (!is_digit(*p)) return 0;
    const uint8_t *first = p;
    uint64_t low = 0, eight;
    while (p - first < 16 && (memcpy(&eight, p, 8), are_digits(eight))) {
        low = low * 100000000 + of_digits(eight);
        p += 8;
    }
    while (is_digit(*p) && p - first < 19) low = low * 10 + (uint64_t)(*p++ - '0');
    n->digits = low;
    while (is_digit(*p)) {
        if (p - first >= MOST_DIGITS) return 0;
        n->digits = n->digits * 10 + (uint8_t)(*p++ - '0');
    }
    int32_t whole = (int32_t)(p - first);
    if (*first == '0' && whole > 1) return 0;
    n->count = *first == '0' ? 0 : whole;
    n->fraction = 0;
    n->exponent = 0;
    n->plain = 1;
    if (*p == '.') {
        const uint8_t *point = ++p;
        n->plain = 0;
        if (whole <= 10) {  /* the usual one: all of it within 64 bits */
            low = (uint64_t)n->digits;
            while (is_digit(*p) && p - point < 9) low = low * 10 + (uint64_t)(*p++ - '0');
            n->digits = low;
        }
        while (is_digit(*p)) {
            if (whole + (p - point) >= MOST_DIGITS) return 0;
            n->digits = n->digits * 10 + (uint8_t)(*p++ - '0');
        }
        n->fraction = (int32_t)(p - point);
        if (n->fraction == 0) return 0;
        n->count = n->digits ? n->count + n->fraction : 0; /* at most: leading zeros of a fraction count */
    }
    if ((*p | 0x20) == 'e') {
        n->plain = 0;
        ++p;
        int negative = *p == '-';
        p += negative || *p == '+';
        const uint8_t *digits = p;
        while (is_digit(*p) && p - digits < 2) n->exponent = n->exponent * 10 + (*p++ - '0');
        if (p == digits || is_digit(*p)) return 0;
        if (negative) n->exponent = -n->exponent;
    }
    return p;
}

/* The number with SCALE places; 0 where it has more, or too many digits before the point. */
static inline int scaled(const struct number *n, u128 *value) {
    int32_t shift = SCALE - n->fraction + n->exponent;
    if (shift < 0 || n->count - n->fraction + n->exponent > WHOLE) return 0;
    u128 result = n->digits;
    if (result && n->count + shift > MOST_DIGITS) return 0;
    for (; result && shift > 19; shift -= 19) result *= POWERS[19];
    if (result) result *= POWERS[shift];
    *value = n->negative ? -result : result;
    return 1;
}

/* Behind a text's closing quotation mark; 0 where it holds an escape or a control character, or does not end. */
static inline const uint8_t *behind_text(const uint8_t *p) {
    const uint64_t ones = 0x0101010101010101ULL, high = 0x8080808080808080ULL;
    for (;; p += 8) { /* eight bytes at a time: the lowest bit found is exact */
        uint64_t word, quote, escape;
        memcpy(&word, p, 8);
        quote = word ^ ones * '"';
        escape = word ^ ones * '\\';
        uint64_t found = (((quote - ones) & ~quote) | ((escape - ones) & ~escape) | ((word - ones * 0x20) & ~word)) & high;
        if (found) {
            p += __builtin_ctzll(found) >> 3;
            return *p == '"' ? p + 1 : 0;
        }
    }
}

static inline int is_null(const uint8_t *p) { return memcmp(p, "null", 4) == 0; }

/* Any sound value, read over. Numbers that the record parser might refuse are not sound here. */
static const uint8_t *skip(const struct run *r, const uint8_t *p, int depth) {
    struct number n;
    uint8_t open = *p;
    if (open == '"') return behind_text(p + 1);
    if (open == '{' || open == '[') {
        uint8_t close = open + 2; /* in ASCII */
        if (depth >= DEEPEST) return 0;
        p = space(r, p + 1);
        if (*p == close) return p + 1;
        for (;;) {
            if (open == '{') {
                if (*p != '"' || !(p = behind_text(p + 1))) return 0;
                p = space(r, p);
                if (*p != ':') return 0;
                p = space(r, p + 1);
            }
            if (!(p = skip(r, p, depth + 1))) return 0;
            p = space(r, p);
            if (*p == close) return p + 1;
            if (*p != ',') return 0;
            p = space(r, p + 1);
        }
    }
    if (is_null(p) || memcmp(p, "true", 4) == 0) return p + 4;
    if (memcmp(p, "false", 5) == 0) return p + 5;
    p = scan(p, &n);
    return p && !(n.plain && n.count > LONGEST_INTEGER) ? p : 0;
}

/* A number, in quotation marks or not. `present` is 0 where it is null, or an empty text that means null. */
static inline const uint8_t *take_number(const uint8_t *p, int32_t flags, struct number *n, int *present) {
    int quoted = *p == '"';
    *present = 1;
    p += quoted;
    if (!is_digit(*p) && *p != '-') {
        *present = 0;
        if (quoted) return (flags & EMPTY_IS_NULL) && *p == '"' ? p + 1 : 0;
        return is_null(p) ? p + 4 : 0;
    }
    p = scan(p, n);
    if (!p || (quoted && *p != '"')) return 0;
    return p + quoted;
}

/* The number of a word, which is given one when it is new; -1 where there is no room for it. */
static inline int32_t word_of(struct slot *s, const uint8_t *data, const uint8_t *p, int64_t length) {
    if (s->last >= 0) { /* mostly the same as in the row before */
        const int64_t *known = s->words + 2 * s->last;
        if (known[1] - known[0] == length && memcmp(data + known[0], p, (size_t)length) == 0) return (int32_t)s->last;
    }
    uint64_t hash = 1469598103934665603ULL ^ (uint64_t)length;
    int64_t at = 0;
    for (; at + 8 <= length; at += 8) {
        uint64_t part;
        memcpy(&part, p + at, 8);
        hash = (hash ^ part) * 0x9E3779B97F4A7C15ULL;
        hash ^= hash >> 29;
    }
    for (; at < length; at++) hash = (hash ^ p[at]) * 1099511628211ULL;
    hash ^= hash >> 32;
    for (int64_t place = (int64_t)(hash & (uint64_t)s->mask);; place = (place + 1) & s->mask) {
        int32_t word = s->table[place] - 1;
        if (word < 0) {
            if (s->count == s->capacity) return -1;
            s->table[place] = (int32_t)s->count + 1;
            s->words[2 * s->count] = p - data;
            s->words[2 * s->count + 1] = p - data + length;
            return (int32_t)(s->last = s->count++);
        }
        const int64_t *known = s->words + 2 * word;
        if (known[1] - known[0] == length && memcmp(data + known[0], p, (size_t)length) == 0)
            return (int32_t)(s->last = word);
    }
}

static inline const uint8_t *behind_bare(const uint8_t *p) {
    while (is_digit(*p) || (uint8_t)((*p | 0x20) - 'a') < 26 || *p == '.' || *p == '-' || *p == '+') p++;
    return p;
}

/* A value into its slot; a word (which may be a container) is kept as it is spelled, quotation marks included. */
static inline const uint8_t *take_scalar(struct run *r, const uint8_t *p, const struct node *n, int *present) {
    struct slot *s = r->out->slots + n->slot;
    int64_t at = s->of_frame ? r->frame : r->out->rows;
    if (n->kind == WORD) {
        const uint8_t *stop = *p == '"' ? behind_text(p + 1) : *p == '{' || *p == '[' ? skip(r, p, 0) : behind_bare(p);
        if (!stop || stop == p) return 0;
        *present = !(stop - p == 4 && is_null(p)) && !((n->flags & EMPTY_IS_NULL) && stop - p == 2 && *p == '"');
        if (*present && (((int32_t *)s->values)[at] = word_of(s, r->data, p, stop - p)) < 0) {
            r->full = 1; /* words of frames that do not fit count too */
            return 0;
        }
        p = stop;
    } else {
        struct number number;
        p = take_number(p, n->flags, &number, present);
        if (!p) return 0;
        if (*present && n->kind == INTEGER) {
            if (!number.plain || number.digits > INT64_MAX) return 0;
            int64_t value = (int64_t)(uint64_t)number.digits;
            ((int64_t *)s->values)[at] = number.negative ? -value : value;
        } else if (*present && !scaled(&number, (u128 *)s->values + at)) {
            return 0;
        }
    }
    if (!*present && (n->flags & NEVER_NULL)) return 0;
    s->valid[at] = (uint8_t)*present;
    return p;
}

/* The child whose name (with its quotation mark) is at p; -1: none. The one that followed the last time is tried first. */
static inline int32_t child_at(const struct run *r, const struct node *n, int32_t guess, const uint8_t *p) {
    const struct child *children = r->children + n->first;
    uint64_t word;
    memcpy(&word, p, 8);
    for (int32_t tried = -1, c = guess; tried < n->count; c = ++tried) {
        if (c < 0 || c >= n->count) continue;
        const struct child *one = children + c;
        if ((word & one->mask) == one->word &&
            (one->length <= 8 || memcmp(p + 8, one->name + 8, (size_t)(one->length - 8)) == 0))
            return c;
    }
    return -1;
}

/* A field that no column holds, as it is spelled, into the row's extra. */
static int keep(struct run *r, const uint8_t *name, int64_t name_length, const uint8_t *value, int64_t length) {
    struct output *out = r->out;
    if (out->extra_length + name_length + length + 5 > out->extra_capacity) {
        r->full = 3;
        return 0;
    }
    uint8_t *to = out->extra + out->extra_length;
    *to++ = r->has_extra ? ',' : '{';
    *to++ = '"';
    memcpy(to, name, (size_t)name_length);
    to += name_length;
    *to++ = '"';
    *to++ = ':';
    memcpy(to, value, (size_t)length);
    out->extra_length = to + length - out->extra;
    r->has_extra = 1;
    return 1;
}

static inline int32_t follow(struct run *r, struct node *n, int32_t previous, int32_t c) {
    if (previous < 0) n->guess = c;
    else r->children[n->first + previous].next = c;
    return c;
}

static inline const uint8_t *take_level_number(const uint8_t *p, u128 *value) {
    struct number number;
    int present;
    p = take_number(p, 0, &number, &present);
    return p && present && scaled(&number, value) ? p : 0;
}

/* One level as an object or an array: its numbers in the order of the node's children. */
static const uint8_t *take_level(struct run *r, const uint8_t *p, struct node *n, u128 *numbers) {
    uint64_t seen = 0, all = (1ULL << n->count) - 1;
    int by_name = n->flags & BY_NAME;
    uint8_t close = by_name ? '}' : ']';
    int32_t previous = -1, position = 0;
    if (*p != (by_name ? '{' : '[')) return 0;
    p = space(r, p + 1);
    for (;; position++) {
        int32_t c = position < n->count ? position : -1;
        if (by_name) {
            if (*p++ != '"') return 0;
            c = child_at(r, n, previous < 0 ? n->guess : r->children[n->first + previous].next, p);
            if (c >= 0) {
                p += r->children[n->first + c].length;
                previous = follow(r, n, previous, c);
            } else if (!(p = behind_text(p))) {
                return 0;
            }
            p = space(r, p);
            if (*p != ':') return 0;
            p = space(r, p + 1);
        }
        if (c >= 0) {
            if (seen & (1ULL << c)) return 0;
            seen |= 1ULL << c;
            p = take_level_number(p, numbers + r->children[n->first + c].node);
        } else {
            p = skip(r, p, 1);
            r->more |= (n->flags & KEEP_WHOLE) != 0;
        }
        if (!p) return 0;
        p = space(r, p);
        if (*p == close) break;
        if (*p != ',') return 0;
        p = space(r, p + 1);
    }
    return seen == all ? p + 1 : 0;
}

static const uint8_t *take_levels(struct run *r, const uint8_t *p, struct node *n) {
    struct list *lists = r->out->lists + n->slot;
    int32_t sides = n->count / 2;
    u128 numbers[MOST_NUMBERS];
    for (int32_t side = 0; side < sides; side++) lists[side].valid[r->out->rows] = 1;
    p = space(r, p + 1);
    if (*p == ']') return p + 1;
    for (;;) {
        if (!(p = take_level(r, p, n, numbers))) return 0;
        for (int32_t side = 0; side < sides; side++) {
            struct list *list = lists + side;
            u128 price = numbers[2 * side], size = numbers[2 * side + 1];
            if ((n->flags & UNPADDED) && !price && !size) continue;
            if (list->count == list->capacity) {
                r->full = 2;
                return 0;
            }
            list->prices[list->count] = price;
            list->sizes[list->count++] = size;
        }
        p = space(r, p);
        if (*p == ']') return p + 1;
        if (*p != ',') return 0;
        p = space(r, p + 1);
    }
}

static const uint8_t *take_events(struct run *r, const uint8_t *p, struct node *n);
static const uint8_t *take_object(struct run *r, const uint8_t *p, struct node *n);
static const uint8_t *take_positions(struct run *r, const uint8_t *p, struct node *n);

static inline const uint8_t *take_value(struct run *r, const uint8_t *p, struct node *n, int *present) {
    if (n->kind >= DECIMAL && n->kind <= WORD) return take_scalar(r, p, n, present);
    *present = !is_null(p);
    if (n->kind == REFUSED) return 0;
    if (n->kind == SKIPPED) return skip(r, p, 0);
    if (!*present) return p + 4;
    if (n->flags & EVENT) return take_events(r, p, n);
    if (n->kind == OBJECT) return *p == '{' ? take_object(r, p, n) : 0;
    if (n->kind == LEVELS) return *p == '[' ? take_levels(r, p, n) : 0;
    return 0;
}

/* Whether the same name came before among the fields that no column holds; JSON's last one would win. */
static int came_before(const uint8_t **names, const int64_t *lengths, int count) {
    for (int n = 0; n < count; n++)
        if (lengths[n] == lengths[count] && memcmp(names[n], names[count], (size_t)lengths[n]) == 0) return 1;
    return 0;
}

static const uint8_t *take_object(struct run *r, const uint8_t *p, struct node *n) {
    const uint8_t *names[MOST_UNKNOWN];
    int64_t lengths[MOST_UNKNOWN];
    uint64_t seen = 0, found = 0;
    int32_t previous = -1, more = 0, unknown = 0;
    p = space(r, p + 1);
    if (*p == '}') return n->required ? 0 : p + 1;
    for (;;) {
        if (*p++ != '"') return 0;
        const uint8_t *name = p;
        int32_t c = child_at(r, n, previous < 0 ? n->guess : r->children[n->first + previous].next, p);
        if (c >= 0) p += r->children[n->first + c].length;
        else if (!(p = behind_text(p))) return 0;
        int64_t length = p - 1 - name;
        p = space(r, p);
        if (*p != ':') return 0;
        p = space(r, p + 1);
        const uint8_t *value = p;
        if (c >= 0) {
            int present = 1;
            if (seen & (1ULL << c)) return 0;
            seen |= 1ULL << c;
            previous = follow(r, n, previous, c);
            if (!(p = take_value(r, p, r->nodes + r->children[n->first + c].node, &present))) return 0;
            found |= (uint64_t)present << c;
            if (r->more && !keep(r, name, length, value, p - value)) return 0;
            r->more = 0;
        } else {
            if (!(p = skip(r, p, 0))) return 0;
            if (n->flags & KEEP_UNKNOWN) {
                names[unknown] = name;
                lengths[unknown] = length;
                if (came_before(names, lengths, unknown) || ++unknown == MOST_UNKNOWN) return 0;
                int empty = (n->flags & EMPTY_IS_NULL) && p - value == 2 && *value == '"';
                if (!empty && !keep(r, name, length, value, p - value)) return 0;
            }
            more |= n->flags & KEEP_WHOLE;
        }
        p = space(r, p);
        if (*p == '}') break;
        if (*p != ',') return 0;
        p = space(r, p + 1);
    }
    r->more = more != 0;
    return (found & n->required) == n->required ? p + 1 : 0;
}

/* An array whose positions are fields. What lies behind them is kept under its position, if it is a text. */
static const uint8_t *take_positions(struct run *r, const uint8_t *p, struct node *n) {
    uint64_t found = 0;
    int32_t position = 0;
    p = space(r, p + 1);
    for (;; position++) {
        int present = 1;
        if (position < n->count) {
            if (!(p = take_value(r, p, r->nodes + r->children[n->first + position].node, &present))) return 0;
            found |= (uint64_t)present << position;
        } else {
            const uint8_t *value = p;
            uint8_t name[2] = {(uint8_t)('0' + position / 10), (uint8_t)('0' + position % 10)};
            int one = position < 10;
            if (*p != '"' || !(p = behind_text(p + 1)) || !keep(r, name + one, 2 - one, value, p - value)) return 0;
        }
        p = space(r, p);
        if (*p == ']') break;
        if (*p != ',' || position >= 62) return 0;
        p = space(r, p + 1);
    }
    if (!(n->lengths >> (position + 1) & 1)) return 0;
    return (found & n->required) == n->required ? p + 1 : 0;
}

/* One row. */
static const uint8_t *take_event(struct run *r, const uint8_t *p, struct node *n) {
    struct output *out = r->out;
    int64_t row = out->rows;
    if (row == out->capacity) {
        r->full = 1;
        return 0;
    }
    r->has_extra = 0;
    if (*p != (n->kind == OBJECT ? '{' : '[')) return 0;
    p = n->kind == OBJECT ? take_object(r, p, n) : take_positions(r, p, n);
    if (!p) return 0;
    for (int64_t l = 0; l < out->list_count; l++) out->lists[l].offsets[row + 1] = (int32_t)out->lists[l].count;
    if (r->has_extra) out->extra[out->extra_length++] = '}'; /* keep left room for it */
    out->extra_valid[row] = (uint8_t)r->has_extra;
    out->extra_offsets[row + 1] = (int32_t)out->extra_length;
    out->frames[row] = (int32_t)r->frame;
    out->items[row] = r->item++;
    out->rows++;
    return p;
}

static const uint8_t *take_events(struct run *r, const uint8_t *p, struct node *n) {
    if ((n->flags & ONE) && *p == '{') return take_event(r, p, n);
    if (!(n->flags & MANY) || *p != '[') return 0;
    p = space(r, p + 1);
    for (;;) {
        if (!(p = take_event(r, p, n))) return 0;
        p = space(r, p);
        if (*p == ']') return p + 1;
        if (*p != ',') return 0;
        p = space(r, p + 1);
    }
}

static int take_frame(struct run *r, const uint8_t *p) {
    int present = 1;
    r->item = 0;
    r->more = 0;
    p = space(r, p);
    if (*p != '{' && *p != '[') return 0;
    p = take_value(r, p, r->nodes, &present);
    return p && space(r, p) == r->end;
}

/* Undo what a frame that does not fit has written, from row `first` on. */
static void undo(struct output *out, int64_t first) {
    int64_t last = out->rows < out->capacity ? out->rows : out->capacity - 1;
    for (int64_t row = first; row <= last; row++) {
        for (int64_t s = 0; s < out->slot_count; s++)
            if (!out->slots[s].of_frame) out->slots[s].valid[row] = 0;
        for (int64_t l = 0; l < out->list_count; l++) out->lists[l].valid[row] = 0;
    }
    for (int64_t l = 0; l < out->list_count; l++) out->lists[l].count = out->lists[l].offsets[first];
    out->extra_length = out->extra_offsets[first];
    out->rows = first;
}

/* Read frames into columns; `fits` tells of each whether it was read. 0, or which buffer is too small for them. */
int64_t tidemark_read_frames(const uint8_t *data, const int64_t *starts, const int64_t *ends, int64_t frames,
                             struct node *nodes, struct child *children, struct output *out, uint8_t *fits) {
    struct run run = {data, 0, nodes, children, out, 0, 0, 0, 0, 0};
    for (int64_t frame = 0; frame < frames; frame++) {
        int64_t rows = out->rows;
        run.frame = frame;
        run.end = data + ends[frame];
        fits[frame] = (uint8_t)take_frame(&run, data + starts[frame]);
        if (run.full) return run.full;
        if (!fits[frame]) undo(out, rows);
    }
    return 0;
}

/* Decimals times factors: numerators[which] / 10^places[which]. Where a product has more places or digits than a decimal
 * holds, `fits` is 0. A numerator of 0 stands for no factor: the product is 0. How many do not fit. */
int64_t tidemark_multiply(const u128 *values, const int32_t *which, int64_t count, const int64_t *numerators,
                          const int32_t *places, u128 *products, uint8_t *fits) {
    static const u128 LIMIT = (u128)10000000000000000000ULL * 10000000000000000000ULL; /* 10^38 */
    int64_t misfits = 0;
    for (int64_t at = 0; at < count; at++) {
        u128 value = values[at];
        int negative = (int)(value >> 127);
        if (negative) value = -value;
        u128 numerator = (u128)numerators[which[at]], divisor = POWERS[places[which[at]]];
        int fit = !numerator || value <= (LIMIT - 1) / numerator;
        u128 product = fit ? value * numerator : 0;
        if (fit && divisor > 1) {
            fit = product % divisor == 0;
            product /= divisor;
        }
        fits[at] = (uint8_t)fit;
        misfits += !fit;
        products[at] = negative ? -product : product;
    }
    return misfits;
}
