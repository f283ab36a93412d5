/**
 * sfc32, the small fast counting generator of Chris Doty-Humphrey's PractRand: 128 bits of state, passes
 * its tests, and uses only 32-bit additions, shifts and xors, so that every machine and every Node makes
 * the same data from a seed.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** `stream` separates the sequences of several files that share one seed. */
  constructor(seed: number, stream: number) {
    this.#a = 0x9e3779b9 | 0;
    this.#b = seed | 0;
    this.#c = stream | 0;
    for (let i = 0; i < 15; i++) this.bits();
  }

  /** 32 random bits as an unsigned integer. */
  bits(): number {
    const result = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + result) | 0;
    return result >>> 0;
  }

  /** An integer in [0, limit): the high part of bits * limit, exact because limit stays below 2^21. */
  below(limit: number): number {
    return Math.floor((this.bits() * limit) / 0x1_0000_0000);
  }

  /**
   * An integer roughly normal around 0 with the deviation given: the sum of four 16-bit uniforms
   * (Irwin-Hall), whose own deviation is 65536 * sqrt(4 / 12). Reaches 3.46 deviations at most, which is
   * enough for weather.
   */
  normal(deviation: number): number {
    const one = this.bits();
    const two = this.bits();
    const sum = (one & 0xffff) + (one >>> 16) + (two & 0xffff) + (two >>> 16) - 131_070;
    return Math.round((sum * deviation) / 37_837);
  }
}
