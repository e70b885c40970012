// Element-wise parts of a decoder, each in one pass over its rows: what torch needs four to ten operators for.
//
// Built at run time by `native.py`, called through ctypes by `kernels.py`, which says what each function gives.
// Pure C types at the border, no headers but these, so that it compiles in seconds. Vectors are GCC's and Clang's
// own: the same source and the same order of sums serve every processor. Rows are dealt to `threads`; sums over rows
// are of whole blocks in their order, so that no bit depends on how many threads there are.
//
// Shapes: M rows, H numbers a row, N heads, K key-value heads, D head size. `E` is float or bf16.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#ifdef PRODUCTS
// oneDNN's own small products, which torch exports (ATen/native/CPUBlas.h): C [M, N] fp32 = A [M, K] times B, of bf16
// with pairs of rows side by side [K / 2, N, 2]. They use whatever the processor has, AMX tiles included.
namespace c10 {
struct BFloat16;
}
namespace at::native::cpublas {
void brgemm(int64_t M, int64_t N, int64_t K, int64_t lda, int64_t ldb, int64_t ldc, const bool add, const c10::BFloat16 *A,
            const c10::BFloat16 *B, float *C, bool vnni);
void brgemm(int64_t M, int64_t N, int64_t K, int64_t lda, int64_t ldb, int64_t ldc, const bool add, const float *A,
            const float *B, float *C, bool vnni);
void brgemm_release(bool vnni);
}  // namespace at::native::cpublas
#endif

namespace {

constexpr long LANES = 16;
constexpr long MOST = 256;   // numbers of a head
constexpr long LONG = 4096;  // scores of a row that need no memory of their own
typedef float Vec __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef uint32_t Bits __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));

struct bf16 {
    uint16_t bits;
};

inline Vec fill(float x) { return Vec{} + x; }

inline Vec load(const float *p) {
    Vec v;
    memcpy(&v, p, sizeof v);
    return v;
}
inline Vec load(const bf16 *p) {
    Halves h;
    memcpy(&h, p, sizeof h);
    return (Vec)(__builtin_convertvector(h, Bits) << 16);
}
inline void store(float *p, Vec v) { memcpy(p, &v, sizeof v); }
inline void store(bf16 *p, Vec v) {
    // to the nearest, ties to even, as torch does; NaN stays NaN where the carry would make it infinite
    Bits b = (Bits)v;
    b = (b + 0x7fff + ((b >> 16) & 1)) >> 16;
    Halves h = __builtin_convertvector(v == v ? b : Bits{} + 0x7fc0u, Halves);
    memcpy(p, &h, sizeof h);
}

// as a number of that kind would be read again
template <class E> inline Vec rounded(Vec v) {
    E part[LANES];
    store(part, v);
    return load(part);
}

// work(i) for all i < n, and after() once in each thread
template <class Work, class After> inline void each(long n, int threads, Work work, After after) {
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static)
        for (long i = 0; i < n; i++) work(i);
        after();
    }
}
template <class Work> inline void each(long n, int threads, Work work) {
    each(n, threads, work, [] {});
}

// the first n < LANES numbers; the other lanes are 0
template <class E> inline Vec load(const E *p, long n) {
    if (n >= LANES) return load(p);
    E part[LANES] = {};
    memcpy(part, p, n * sizeof(E));
    return load(part);
}
template <class E> inline void store(E *p, Vec v, long n) {
    if (n >= LANES) return store(p, v);
    E part[LANES];
    store(part, v);
    memcpy(p, part, n * sizeof(E));
}

inline float sum(Vec v) {
    float part[LANES];
    store(part, v);
    for (long width = LANES / 2; width; width /= 2)
        for (long i = 0; i < width; i++) part[i] += part[i + width];
    return part[0];
}
inline float most(Vec v) {
    float part[LANES];
    store(part, v);
    for (long width = LANES / 2; width; width /= 2)
        for (long i = 0; i < width; i++) part[i] = part[i] < part[i + width] ? part[i + width] : part[i];
    return part[0];
}

// e^x within 2 units in the last place (Cephes' polynomial); below -87.3 it is 0, NaN stays NaN
inline Vec exponential(Vec x) {
    const float shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
    Vec n = x * 1.44269504088896341f + shift;
    Ints power = (Ints)n - (Ints)fill(shift);
    n -= shift;
    Vec r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    Vec p = fill(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    Vec found = p * (Vec)((power + 127) << 23);
    found = x < -87.3f ? Vec{} : found;
    return x > 88.3f ? fill(INFINITY) : found;
}

inline Vec sigmoid(Vec x) { return 1.0f / (1.0f + exponential(-x)); }

// h + y (or h) to h, and its norm times `weight` to `out` (where there is one); 1 / rms to `scales`
template <class E, class Y>
void add_norm(float *h, const Y *y, const float *weight, float eps, E *out, float *scales, long M, long H, int threads) {
    each(M, threads, [=](long m) {
        float *x = h + m * H;
        Vec squares = {};
        for (long i = 0; i < H; i += LANES) {
            Vec v = load(x + i, H - i);
            if (y) {
                v += load(y + m * H + i, H - i);
                store(x + i, v, H - i);
            }
            squares += v * v;
        }
        const float scale = 1.0f / sqrtf(sum(squares) / H + eps);
        if (scales) scales[m] = scale;
        for (long i = 0; i < H; i += LANES)
            store(out + m * H + i, load(x + i, H - i) * scale * load(weight + i, H - i), H - i);
    });
}

template <class E> void swiglu(const E *both, E *out, long M, long I, int threads) {
    each(M, threads, [=](long m) {
        const E *gates = both + 2 * m * I, *ups = gates + I;
        for (long i = 0; i < I; i += LANES) {
            const Vec gate = load(gates + i, I - i), up = load(ups + i, I - i);
            store(out + m * I + i, gate * sigmoid(gate) * up, I - i);
        }
    });
}

// one head [D] normed (if `norm`), multiplied, and turned by half its size, to fp32
template <class E>
inline void turn_head(const E *x, const float *norm, float eps, float gain, const float *cos, const float *sin,
                      float *out, long D) {
    float unit[MOST];
    Vec squares = {};
    for (long i = 0; i < D; i += LANES) {
        Vec v = load(x + i);
        squares += v * v;
        store(unit + i, v);
    }
    if (norm) {
        float scale = 1.0f / sqrtf(sum(squares) / D + eps);
        for (long i = 0; i < D; i += LANES) store(unit + i, load(unit + i) * scale * load(norm + i) * gain);
    } else if (gain != 1.0f) {
        for (long i = 0; i < D; i += LANES) store(unit + i, load(unit + i) * gain);
    }
    long half = D / 2;
    for (long i = 0; i < half; i += LANES) {
        Vec a = load(unit + i, half - i), b = load(unit + half + i, half - i);
        Vec c = load(cos + half + i, half - i), s = load(sin + half + i, half - i);
        store(out + i, a * c - b * s, half - i);
        store(out + half + i, b * c + a * s, half - i);
    }
}

constexpr long BLOCK = 64;  // rows summed apart: a sum of thousands would lose what is small beside it

// gradients of norm(x) * weight by x, and by the weight, which is added to `by_weight` [H]
template <class E>
void norm_back(const E *grad, const float *x, const float *scales, const float *weight, float *by_x, float *by_weight,
               long M, long H, int threads) {
    const long blocks = (M + BLOCK - 1) / BLOCK;
    float *parts = (float *)calloc(blocks * H, sizeof(float));
    each(blocks, threads, [=](long block) {
        float *part = parts + block * H;
        for (long m = block * BLOCK; m < M && m < (block + 1) * BLOCK; m++) {
            const E *g = grad + m * H;
            const float *from = x + m * H, scale = scales[m];
            Vec dots = {};
            for (long i = 0; i < H; i += LANES) {
                const Vec product = load(g + i, H - i) * load(from + i, H - i) * scale;
                store(part + i, load(part + i, H - i) + product, H - i);
                dots += product * load(weight + i, H - i);
            }
            const float dot = sum(dots) / H;
            for (long i = 0; i < H; i += LANES) {
                const Vec by_unit = load(g + i, H - i) * load(weight + i, H - i);
                store(by_x + m * H + i, (by_unit - load(from + i, H - i) * scale * dot) * scale, H - i);
            }
        }
    });
    for (long block = 0; block < blocks; block++)
        for (long i = 0; i < H; i++) by_weight[i] += parts[block * H + i];
    free(parts);
}

template <class E> void swiglu_back(const E *grad, const E *both, E *by_both, long M, long I, int threads) {
    each(M, threads, [=](long m) {
        const E *from = grad + m * I, *gates = both + 2 * m * I, *ups = gates + I;
        E *by_gates = by_both + 2 * m * I, *by_ups = by_gates + I;
        for (long i = 0; i < I; i += LANES) {
            const long n = I - i;
            const Vec g = load(from + i, n), gate = load(gates + i, n), up = load(ups + i, n);
            const Vec open = sigmoid(gate), silu = gate * open;
            store(by_gates + i, g * up * (open + silu * (1.0f - open)), n);
            store(by_ups + i, g * silu, n);
        }
    });
}

// q and k of tokens [M, N + 2 K, D] normed (if `q_norm`), q scaled, both turned by cosines and sines [M, D]; v as it is
template <class E>
void turn_heads(const E *qkv, const float *q_norm, const float *k_norm, float eps, const float *cos, const float *sin,
                E *out, long M, long N, long K, long D, int threads) {
    const float scale = 1.0f / sqrtf((float)D);
    each(M, threads, [=](long m) {
        const E *from = qkv + m * (N + 2 * K) * D;
        E *to = out + m * (N + 2 * K) * D;
        float turned[MOST];
        for (long h = 0; h < N + K; h++, from += D, to += D) {
            const float *norm = h < N ? q_norm : k_norm;
            turn_head(from, norm, eps, h < N ? scale : 1.0f, cos + m * D, sin + m * D, turned, D);
            for (long i = 0; i < D; i += LANES) store(to + i, load(turned + i));
        }
        memcpy(to, from, K * D * sizeof(E));
    });
}

// one head's part of the gradient of the above; that of its norm's weight is added to `part` [D]
template <class E>
inline void turn_head_back(const E *grad, const E *x, const float *norm, float eps, float gain, const float *cos,
                           const float *sin, E *out, float *part, long D) {
    const long half = D / 2;
    float back[MOST];
    for (long i = 0; i < half; i += LANES) {
        const long n = half - i;
        const Vec a = load(grad + i, n), b = load(grad + half + i, n);
        const Vec c = load(cos + half + i, n), s = load(sin + half + i, n);
        store(back + i, (a * c + b * s) * gain, n);
        store(back + half + i, (b * c - a * s) * gain, n);
    }
    if (!norm) {
        for (long i = 0; i < D; i += LANES) store(out + i, load(back + i));
        return;
    }
    Vec squares = {}, dots = {};
    for (long i = 0; i < D; i += LANES) squares += load(x + i) * load(x + i);
    const float inverse = 1.0f / sqrtf(sum(squares) / D + eps);
    for (long i = 0; i < D; i += LANES) {
        const Vec product = load(back + i) * load(x + i) * inverse;
        store(part + i, load(part + i) + product);
        dots += product * load(norm + i);
    }
    const float dot = sum(dots) / D;
    for (long i = 0; i < D; i += LANES)
        store(out + i, (load(back + i) * load(norm + i) - load(x + i) * inverse * dot) * inverse);
}

// the gradient of `turn_heads`; those of the norms' weights are added to `by_norms` [2, D]
template <class E>
void turn_heads_back(const E *grad, const E *qkv, const float *q_norm, const float *k_norm, float eps, const float *cos,
                     const float *sin, E *out, float *by_norms, long M, long N, long K, long D, int threads) {
    const float scale = 1.0f / sqrtf((float)D);
    const long blocks = (M + BLOCK - 1) / BLOCK, row = (N + 2 * K) * D;
    float *parts = (float *)calloc(blocks * 2 * D, sizeof(float));
    each(blocks, threads, [=](long block) {
        for (long m = block * BLOCK; m < M && m < (block + 1) * BLOCK; m++) {
            for (long h = 0; h < N + K; h++) {
                const long at = m * row + h * D;
                float *part = parts + (2 * block + (h < N ? 0 : 1)) * D;
                turn_head_back(grad + at, qkv + at, h < N ? q_norm : k_norm, eps, h < N ? scale : 1.0f, cos + m * D,
                               sin + m * D, out + at, part, D);
            }
            const long at = m * row + (N + K) * D;
            memcpy(out + at, grad + at, K * D * sizeof(E));
        }
    });
    for (long block = 0; block < blocks; block++)
        for (long i = 0; i < 2 * D; i++) by_norms[i] += parts[2 * block * D + i];
    free(parts);
}

// Weights of attention in place of scores: of T trees' rows each, to the P columns of their prefix (`old`; none where
// P is 0) and to the R columns of their own branch, of which row i stands at i % R. `hidden` [T, 1 or R, P] (or null)
// and `causal` [R, R] are added to scores: 0 or -inf.
template <class E>
void weigh(E *old, E *own, const float *hidden, long hidden_rows, const float *causal, long T, long rows, long P, long R,
           int threads) {
    const long wide = (P + LANES - 1) / LANES * LANES;
    each(T * rows, threads, [=](long row) {
        const long t = row / rows, r = row % rows % R, seen = r + 1;  // nobody sees what comes after
        E *before = old + row * P, *near = own + row * R;
        float scores[LONG], *room = wide + R + LANES <= LONG ? scores : (float *)malloc((wide + R + LANES) * sizeof(float));
        const float *mask = hidden ? hidden + (t * hidden_rows + (hidden_rows > 1 ? r : 0)) * P : nullptr;
        Vec top = fill(-INFINITY), total = {};
        for (long c = 0; c < P; c += LANES) {
            Vec x = load(before + c, P - c);
            if (mask) x += load(mask + c, P - c);
            for (long j = P - c; j < LANES; j++) x[j] = -INFINITY;
            store(room + c, x);
            top = top < x ? x : top;
        }
        for (long c = 0; c < seen; c += LANES) {
            Vec x = load(near + c, R - c) + load(causal + r * R + c, R - c);
            for (long j = R - c; j < LANES; j++) x[j] = -INFINITY;
            store(room + wide + c, x);
            top = top < x ? x : top;
        }
        const float highest = most(top);
        for (long c = 0; c < wide + seen; c += LANES) {
            const Vec x = exponential(load(room + c) - highest);
            store(room + c, x);
            total += x;
        }
        const float share = 1.0f / sum(total);
        for (long c = 0; c < P; c += LANES) store(before + c, load(room + c) * share, P - c);
        for (long c = 0; c < R; c += LANES)
            store(near + c, c < seen ? load(room + wide + c) * share : Vec{}, R - c);
        if (room != scores) free(room);
    });
}

// the gradient of scores in place of that of their weights [rows, C]: weights * (gradient - delta)
template <class E> void weigh_back(E *grad, const float *delta, const E *weights, long rows, long C, int threads) {
    each(rows, threads, [=](long i) {
        E *g = grad + i * C;
        const E *w = weights + i * C;
        for (long c = 0; c < C; c += LANES) store(g + c, (load(g + c, C - c) - delta[i]) * load(w + c, C - c), C - c);
    });
}

// sums of a * b over the last dimension [rows, D]
template <class E> void row_dots(const E *a, const E *b, float *found, long rows, long D, int threads) {
    each(rows, threads, [=](long i) {
        Vec dots = {};
        for (long d = 0; d < D; d += LANES) dots += load(a + i * D + d, D - d) * load(b + i * D + d, D - d);
        found[i] = sum(dots);
    });
}

// lanes of a (0 to 15) and of b (16 to 31)
#ifdef __clang__
#define PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define PICK(a, b, ...) __builtin_shuffle(a, b, (Ints){__VA_ARGS__})
#endif

// sums of 16 vectors, one a lane
inline Vec sums(Vec *v) {
    for (int i = 0; i < 16; i += 2)
        v[i] = PICK(v[i], v[i + 1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30) +
               PICK(v[i], v[i + 1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
    for (int i = 0; i < 16; i += 4)
        v[i] = PICK(v[i], v[i + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
               PICK(v[i], v[i + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    for (int i = 0; i < 16; i += 8)
        v[i] = PICK(v[i], v[i + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27) +
               PICK(v[i], v[i + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
    return PICK(v[0], v[8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
           PICK(v[0], v[8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
}

// the products of G queries [G, D] with 16 keys [16, D], of which `here` are real, to rows of `scores`
template <int DV, int G, class E>
inline void dots(const float *q, const E *keys, long here, float *scores, long wide) {
    constexpr long D = DV * LANES;
    Vec part[G][LANES];
    for (long j = 0; j < LANES; j++) {
        const E *key = keys + (j < here ? j : 0) * D;
        Vec k[DV];
        for (int d = 0; d < DV; d++) k[d] = load(key + d * LANES);
        for (int g = 0; g < G; g++) {
            Vec dot = load(q + g * D) * k[0];
            for (int d = 1; d < DV; d++) dot += load(q + g * D + d * LANES) * k[d];
            part[g][j] = dot;
        }
    }
    for (int g = 0; g < G; g++) store(scores + g * wide, rounded<E>(sums(part[g])));
}

// weights in place of `count` scores, rounded to E, and zeros behind them up to whole vectors
template <class E> inline void share_out(float *row, long count) {
    const long wide = (count + LANES - 1) / LANES * LANES;
    for (long c = count; c < wide; c++) row[c] = -INFINITY;
    Vec top = fill(-INFINITY), total = {};
    for (long c = 0; c < wide; c += LANES) {
        const Vec x = load(row + c);
        top = top < x ? x : top;
    }
    const float highest = most(top);
    for (long c = 0; c < wide; c += LANES) {
        const Vec x = exponential(load(row + c) - highest);
        store(row + c, x);
        total += x;
    }
    const float share = 1.0f / sum(total);
    for (long c = 0; c < wide; c += LANES) store(row + c, rounded<E>(load(row + c) * share));
}

// G queries [G, D] over columns [count, D] of keys and values. Queries, scores and weights are rounded to E where the
// trainer's are: a sampler that is more exact than the trainer is further from it, not nearer. `scores` has room for G times `count`, rounded up
template <int DV, int G, class E>
void look(const float *q, const E *keys, const E *values, long count, float *scores, float *out) {
    constexpr long D = DV * LANES;
    const long wide = (count + LANES - 1) / LANES * LANES, whole = count / LANES * LANES;
    for (long c = 0; c < whole; c += LANES) dots<DV, G>(q, keys + c * D, LANES, scores + c, wide);
    if (whole < count) dots<DV, G>(q, keys + whole * D, count - whole, scores + whole, wide);
    for (int g = 0; g < G; g++) share_out<E>(scores + g * wide, count);
    // even and odd columns apart: an addition takes four cycles, and few sums would wait for one another
    constexpr int CHAINS = DV * G >= 8 ? 1 : 2;
    Vec found[CHAINS][G][DV] = {};
    const long even = count / CHAINS * CHAINS;
    for (long c = 0; c < even; c += CHAINS)
        for (int n = 0; n < CHAINS; n++)
            for (int d = 0; d < DV; d++) {
                const Vec v = load(values + (c + n) * D + d * LANES);
                for (int g = 0; g < G; g++) found[n][g][d] += scores[g * wide + c + n] * v;
            }
    for (long c = even; c < count; c++)
        for (int d = 0; d < DV; d++) {
            const Vec v = load(values + c * D + d * LANES);
            for (int g = 0; g < G; g++) found[0][g][d] += scores[g * wide + c] * v;
        }
    for (int g = 0; g < G; g++)
        for (int d = 0; d < DV; d++) {
            Vec all = found[0][g][d];
            for (int n = 1; n < CHAINS; n++) all += found[n][g][d];
            store(out + g * D + d * LANES, all);
        }
}

template <int DV, class E>
void look_all(const float *q, long queries, const E *keys, const E *values, long count, float *scores, float *out) {
    constexpr long D = DV * LANES;
    // as many queries at once as registers hold sums for: keys and values are then read once for them
    constexpr int most = DV >= 8 ? 2 : 4;
    while (queries > 0) {
        const int now = queries < most ? queries : most;
        if (now == 1) look<DV, 1>(q, keys, values, count, scores, out);
        else if (now == 2) look<DV, 2>(q, keys, values, count, scores, out);
        else if (now == 3) look<DV, most >= 3 ? 3 : 1>(q, keys, values, count, scores, out);
        else look<DV, most>(q, keys, values, count, scores, out);
        q += now * D;
        out += now * D;
        queries -= now;
    }
}

template <class E>
void attend(const E *qkv, const float *q_norm, const float *k_norm, float eps, const float *cos, const float *sin,
            E *cache, const int64_t *used, const int64_t *places, const int64_t *rows, int64_t nobody, E *out,
            long S, long N, long K, long D, long room, long half, long window, int threads) {
    const long group = N / K, per = N + 2 * K;
    const float scale = 1.0f / sqrtf((float)D);
    each(S, threads, [=](long s) {
        E *to = out + s * N * D;
        if (rows[s] == nobody) {  // unheard: a number is enough, as long as it is one
            memset(to, 0, N * D * sizeof(E));
            return;
        }
        const long at = used[s], first = window > 0 && at + 1 > window ? at + 1 - window : 0;
        const long count = at + 1 - first, wide = (count + LANES - 1) / LANES * LANES;
        float *scores = (float *)malloc((4 * wide + 2 * group * D) * sizeof(float));
        float *q = scores + 4 * wide, *found = q + group * D, turned[MOST];
        const float *c = cos + at * D, *n = sin + at * D;
        for (long k = 0; k < K; k++) {
            const E *from = qkv + s * per * D;
            E *keys = cache + (places[s] * K + k) * room * D, *values = keys + half;
            turn_head(from + (N + k) * D, k_norm, eps, 1.0f, c, n, turned, D);
            for (long i = 0; i < D; i += LANES) store(keys + at * D + i, load(turned + i));
            memcpy(values + at * D, from + (N + K + k) * D, D * sizeof(E));
            for (long g = 0; g < group; g++) {
                turn_head(from + (k * group + g) * D, q_norm, eps, scale, c, n, q + g * D, D);
                for (long i = 0; i < D; i += LANES) store(q + g * D + i, rounded<E>(load(q + g * D + i)));
            }
            keys += first * D;
            values += first * D;
            switch (D / LANES) {
            case 1: look_all<1>(q, group, keys, values, count, scores, found); break;
            case 2: look_all<2>(q, group, keys, values, count, scores, found); break;
            case 4: look_all<4>(q, group, keys, values, count, scores, found); break;
            case 6: look_all<6>(q, group, keys, values, count, scores, found); break;
            case 8: look_all<8>(q, group, keys, values, count, scores, found); break;
            case 16: look_all<16>(q, group, keys, values, count, scores, found); break;
            }
            for (long i = 0; i < group * D; i += LANES) store(to + k * group * D + i, load(found + i));
        }
        free(scores);
    });
}

// a prompt's keys or values [M, K, D] at tokens `from` [count] to the same columns of several places of a cache
template <class E>
void insert(const E *tokens, const int64_t *from, long count, const int64_t *places, long slots, E *cache, long stride,
            long K, long D, long room) {
    for (long s = 0; s < slots; s++)
        for (long k = 0; k < K; k++) {
            E *to = cache + (places[s] * K + k) * room * D;
            for (long c = 0; c < count; c++) memcpy(to + c * D, tokens + from[c] * stride + k * D, D * sizeof(E));
        }
}

// the first id at which the running sum of softmax(logits / temperature) exceeds u, and its log-probability
void draw(const float *all, const double *u, float temperature, int64_t *ids, float *logprobs, long M, long V, int threads) {
    each(M, threads, [=](long m) {
        const float *logits = all + m * V;
        float *shares = (float *)malloc(V * sizeof(float));
        Vec top = fill(-INFINITY);
        for (long i = 0; i < V; i += LANES) {
            const Vec x = i + LANES <= V ? load(logits + i) : fill(logits[i]);
            top = top < x ? x : top;
        }
        float highest = most(top);
        for (long i = V / LANES * LANES; i < V; i++) highest = highest < logits[i] ? logits[i] : highest;
        // In double: in fp32 the running sum of a large vocabulary would swallow the small shares at its end.
        // Of 16 at a time, first to know the total, then to find the place, in the same order.
        double total = 0, running = 0;
        for (long i = 0; i < V; i += LANES) {
            store(shares + i, exponential((load(logits + i, V - i) - highest) / temperature), V - i);
            total += sum(load(shares + i, V - i));
        }
        const double threshold = u[m] * total;
        long at = 0;
        for (; at + LANES < V; at += LANES) {
            const double next = running + sum(load(shares + at));
            if (next > threshold) break;
            running = next;
        }
        long found = -1;
        for (long i = at; i < V && i < at + LANES; i++) {
            if (!(shares[i] > 0)) continue;  // without mass it is never drawn, not even by u = 0
            found = i;
            running += shares[i];
            if (running > threshold) break;
        }
        // rounding may leave the end of the sum behind a tail without mass; NaN has none anywhere
        for (long i = at; found < 0 && i-- > 0;)
            if (shares[i] > 0) found = i;
        if (found < 0) found = 0;
        ids[m] = found;
        logprobs[m] = (float)log(shares[found] / total);
        free(shares);
    });
}

#ifdef PRODUCTS

constexpr long COLUMNS = 64;  // outputs of a product at once: what a layout holds side by side

inline void multiply(long M, long K, const bf16 *x, const bf16 *layout, float *out) {
    at::native::cpublas::brgemm(M, COLUMNS, K, K, COLUMNS, COLUMNS, false, (const c10::BFloat16 *)x,
                                (const c10::BFloat16 *)layout, out, true);
}
inline void multiply(long M, long K, const float *x, const float *layout, float *out) {
    at::native::cpublas::brgemm(M, COLUMNS, K, K, COLUMNS, COLUMNS, false, x, layout, out, false);
}

// a weight [W, K] in blocks of COLUMNS outputs, each [K, COLUMNS] or, of bf16, [K / 2, COLUMNS, 2]; zeros behind W
template <class Pair> void lay_out(const void *weight, Pair *out, long W, long K, int threads) {
    each((W + COLUMNS - 1) / COLUMNS, threads, [=](long block) {
        Pair *to = out + block * K * COLUMNS;
        for (long k = 0; k < K; k += LANES)
            for (long j = 0; j < COLUMNS; j++)
                for (long i = k; i < K && i < k + LANES; i++) {
                    const long n = block * COLUMNS + j;
                    Pair pair{};  // copied: of bf16 it may begin at any number
                    if (n < W) memcpy(&pair, (const char *)weight + (n * K + i) * sizeof(Pair), sizeof pair);
                    to[i * COLUMNS + j] = pair;
                }
    });
}

// x [M, K] times a layout of W outputs, plus `bias` (or null), rounded to E [M, W]; false if torch refuses to multiply
template <class E>
bool product(const E *x, const E *layout, const float *bias, E *out, long M, long W, long K, int threads) {
    bool refused = false, *told = &refused;
    // AMX tiles are a thread's until they are given back
    const auto after = [] { at::native::cpublas::brgemm_release(true); };
    const auto work = [=](long block) {
        const long n = block * COLUMNS, here = W - n < COLUMNS ? W - n : COLUMNS;
        float *found = (float *)malloc(M * COLUMNS * sizeof(float));
        try {
            multiply(M, K, x, layout + n * K, found);
        } catch (...) {  // here: none may leave a region of OpenMP
            __atomic_store_n(told, true, __ATOMIC_RELAXED);
            free(found);
            return;
        }
        for (long m = 0; m < M; m++)
            for (long i = 0; i < here; i += LANES) {
                Vec v = load(found + m * COLUMNS + i);
                if (bias) v += load(bias + n + i, here - i);
                store(out + m * W + n + i, v, here - i);
            }
        free(found);
    };
    each((W + COLUMNS - 1) / COLUMNS, threads, work, after);
    return !refused;
}

template <class E> struct Layer {  // as `_Layer` of rollout/kernel_cache.py
    const float *input_norm, *q_norm, *k_norm, *mlp_norm, *qkv_bias, *o_bias;
    const E *qkv, *o, *gate_up, *down;
    E *cache;
};

template <class E> struct Decoder {  // as `_Decoder` of rollout/kernel_cache.py
    const Layer<E> *layers;
    const E *embed;
    const float *norm, *cos, *sin;
    int64_t *used, *places, *rows;
    E *normed, *wide, *seen, *gated;
    float *hidden, *last;
    int64_t count, S, H, I, N, K, D, room, half, window, nobody;
    float eps;
};

// the hidden states of the next token of each slot, to `last` [S, H], normed; keys and values go to the
// caches. False if torch refuses a product: then nothing of it is of use.
template <class E> bool step(const Decoder<E> *d, const int64_t *ids, int threads) {
    const long S = d->S, H = d->H, N = d->N, K = d->K, D = d->D;
    for (long s = 0; s < S; s++)
        for (long i = 0; i < H; i += LANES) store(d->hidden + s * H + i, load(d->embed + ids[s] * H + i, H - i), H - i);
    add_norm(d->hidden, (const E *)nullptr, d->layers[0].input_norm, d->eps, d->normed, nullptr, S, H, threads);
    for (long i = 0; i < d->count; i++) {
        const Layer<E> &l = d->layers[i];
        if (!product(d->normed, l.qkv, l.qkv_bias, d->wide, S, (N + 2 * K) * D, H, threads)) return false;
        attend(d->wide, l.q_norm, l.k_norm, d->eps, d->cos, d->sin, l.cache, d->used, d->places, d->rows, d->nobody, d->seen,
               S, N, K, D, d->room, d->half, d->window, threads);
        if (!product(d->seen, l.o, l.o_bias, d->wide, S, H, N * D, threads)) return false;
        add_norm(d->hidden, d->wide, l.mlp_norm, d->eps, d->normed, nullptr, S, H, threads);
        if (!product(d->normed, l.gate_up, nullptr, d->wide, S, 2 * d->I, H, threads)) return false;
        swiglu(d->wide, d->gated, S, d->I, threads);
        if (!product(d->gated, l.down, nullptr, d->wide, S, H, d->I, threads)) return false;
        if (i + 1 < d->count)
            add_norm(d->hidden, d->wide, d->layers[i + 1].input_norm, d->eps, d->normed, nullptr, S, H, threads);
        else
            add_norm(d->hidden, d->wide, d->norm, d->eps, d->last, nullptr, S, H, threads);
    }
    return true;
}

#endif

}  // namespace

extern "C" {
#define BOTH(E, kind)                                                                                                  \
    void add_norm_##kind(float *h, const E *y, const float *w, float eps, E *out, float *scales, long M, long H, int t) { \
        add_norm(h, y, w, eps, out, scales, M, H, t);                                                                  \
    }                                                                                                                  \
    void norm_back_##kind(const E *grad, const float *x, const float *scales, const float *w, float *by_x, float *by_w, \
                          long M, long H, int t) {                                                                     \
        norm_back(grad, x, scales, w, by_x, by_w, M, H, t);                                                            \
    }                                                                                                                  \
    void swiglu_##kind(const E *both, E *out, long M, long I, int t) { swiglu(both, out, M, I, t); }                   \
    void swiglu_back_##kind(const E *grad, const E *both, E *out, long M, long I, int t) {                             \
        swiglu_back(grad, both, out, M, I, t);                                                                         \
    }                                                                                                                  \
    void turn_heads_##kind(const E *qkv, const float *qn, const float *kn, float eps, const float *c, const float *s,  \
                           E *out, long M, long N, long K, long D, int t) {                                            \
        turn_heads(qkv, qn, kn, eps, c, s, out, M, N, K, D, t);                                                        \
    }                                                                                                                  \
    void turn_heads_back_##kind(const E *grad, const E *qkv, const float *qn, const float *kn, float eps,              \
                                const float *c, const float *s, E *out, float *by, long M, long N, long K, long D,     \
                                int t) {                                                                               \
        turn_heads_back(grad, qkv, qn, kn, eps, c, s, out, by, M, N, K, D, t);                                         \
    }                                                                                                                  \
    void weigh_##kind(E *old, E *own, const float *hidden, long hidden_rows, const float *causal, long T, long rows,   \
                      long P, long R, int t) {                                                                         \
        weigh(old, own, hidden, hidden_rows, causal, T, rows, P, R, t);                                                \
    }                                                                                                                  \
    void weigh_back_##kind(E *grad, const float *delta, const E *weights, long rows, long C, int t) {                  \
        weigh_back(grad, delta, weights, rows, C, t);                                                                  \
    }                                                                                                                  \
    void row_dots_##kind(const E *a, const E *b, float *found, long rows, long D, int t) {                             \
        row_dots(a, b, found, rows, D, t);                                                                             \
    }                                                                                                                  \
    void insert_##kind(const E *tokens, const int64_t *from, long count, const int64_t *places, long slots, E *cache,  \
                       long stride, long K, long D, long room) {                                                       \
        insert(tokens, from, count, places, slots, cache, stride, K, D, room);                                         \
    }                                                                                                                  \
    void attend_##kind(const E *qkv, const float *qn, const float *kn, float eps, const float *c, const float *s,      \
                       E *cache, const int64_t *used, const int64_t *places, const int64_t *rows, int64_t nobody,      \
                       E *out, long S, long N, long K, long D, long room, long half, long window, int t) {             \
        attend(qkv, qn, kn, eps, c, s, cache, used, places, rows, nobody, out, S, N, K, D, room, half, window, t);     \
    }
BOTH(float, f)
BOTH(bf16, b)
void draw_f(const float *logits, const double *u, float temperature, int64_t *ids, float *logprobs, long M, long V, int t) {
    draw(logits, u, temperature, ids, logprobs, M, V, t);
}
#ifdef PRODUCTS
#define PRODUCTS_OF(E, kind)                                                                                           \
    int product_##kind(const E *x, const E *layout, const float *bias, E *out, long M, long W, long K) {               \
        return product(x, layout, bias, out, M, W, K, 1);                                                              \
    }                                                                                                                  \
    int step_##kind(const Decoder<E> *d, const int64_t *ids, int t) { return step(d, ids, t); }
PRODUCTS_OF(float, f)
PRODUCTS_OF(bf16, b)
void lay_out_f(const float *weight, float *out, long W, long K, int t) { lay_out(weight, out, W, K, t); }
void lay_out_b(const bf16 *weight, uint32_t *out, long W, long K, int t) { lay_out(weight, out, W, K / 2, t); }
#endif
}
