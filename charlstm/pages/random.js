
// The random numbers of NumPy: SeedSequence and PCG64, so that a seed gives the same text here and in
// `charlstm sample --seed`. Numbers of 64 and 128 bits are BigInts.
const low32 = (number) => BigInt.asUintN(32, number);
const low64 = (number) => BigInt.asUintN(64, number);
const low128 = (number) => BigInt.asUintN(128, number);

// Mixes numbers of 32 bits; each call changes the constant that is mixed in (O'Neill 2015).
function hasher(constant, factor) {
  return (value) => {
    value ^= constant;
    constant = low32(constant * factor);
    value = low32(value * constant);
    return value ^ (value >> 16n);
  };
}

// numpy.random.SeedSequence(seed, spawn_key=[key]).generate_state(4, numpy.uint64).
function seedSequence(seed, key) {
  const entropy = [];
  for (let rest = seed; rest || !entropy.length; rest >>= 32n) entropy.push(low32(rest));
  while (entropy.length < 4) entropy.push(0n);
  entropy.push(key);
  const hash = hasher(0x43b0d7e5n, 0x931e8875n);
  const mix = (x, y) => {
    const mixed = low32(0xca01f9ddn * x - 0x4973f715n * y);
    return mixed ^ (mixed >> 16n);
  };
  const pool = entropy.slice(0, 4).map(hash);
  for (let from = 0; from < 4; from++) {
    for (let to = 0; to < 4; to++) if (from !== to) pool[to] = mix(pool[to], hash(pool[from]));
  }
  for (const further of entropy.slice(4)) {
    for (let to = 0; to < 4; to++) pool[to] = mix(pool[to], hash(further));
  }
  const output = hasher(0x8b51f9ddn, 0x58f38dedn);
  const words = Array.from({ length: 8 }, (_, k) => output(pool[k % 4]));
  return [0, 2, 4, 6].map((k) => words[k] | (words[k + 1] << 32n));
}

// Return a function that gives the next uniform number in [0, 1): numpy.random.Generator.random.
function uniformNumbers(seed, key) {
  const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;
  const [a, b, c, d] = seedSequence(BigInt(seed), BigInt(key));
  const increment = low128((((c << 64n) | d) << 1n) | 1n);
  const next = (state) => low128(state * MULTIPLIER + increment);
  let state = next(low128(increment + ((a << 64n) | b)));
  return () => {
    state = next(state);
    const folded = low64(state ^ (state >> 64n));
    const turn = state >> 122n;
    const bits = low64((folded >> turn) | (folded << (64n - turn)));
    return Number(bits >> 11n) / 2 ** 53;
  };
}
