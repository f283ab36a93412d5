/** LEB128: small counts in one byte of the routed-entry format. */

/** Where the last `getVarint` ended. */
export let varintEnd: usize = 0;


@inline export function putVarint(o: usize, value: u64): usize {
  if (value < 0x80) {
    store<u8>(o, <u8>value);
    return o + 1;
  }
  return putLong(o, value);
}

function putLong(o: usize, value: u64): usize {
  while (value >= 0x80) {
    store<u8>(o++, <u8>(value | 0x80));
    value >>= 7;
  }
  store<u8>(o, <u8>value);
  return o + 1;
}


@inline export function getVarint(p: usize): u64 {
  const byte = <u64>load<u8>(p);
  if (byte < 0x80) {
    varintEnd = p + 1;
    return byte;
  }
  return getLong(p);
}

function getLong(p: usize): u64 {
  let value: u64 = 0;
  let shift: u64 = 0;
  while (true) {
    const byte = <u64>load<u8>(p++);
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) break;
    shift += 7;
  }
  varintEnd = p;
  return value;
}
