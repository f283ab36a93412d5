/** Whole lines out of chunks of bytes; what a line holds is not looked at. Node and browsers. */

const LF = 0x0a;

/** Yields the lines of a body, without their line feeds, as text. */
export async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    const text = rest + decoder.decode(chunk, { stream: true });
    let at = 0;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", at)) {
      if (end > at) yield text.slice(at, end);
      at = end + 1;
    }
    rest = text.slice(at);
  }
  if (rest) yield rest;
}

/** A stream's chunks, where it has no async iterator of its own. */
export async function* chunksOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** Joins chunks into bodies of about `bytes`, each of whole lines. With `header`, each starts with the first line (CSV). */
export async function* bodiesOf(
  chunks: AsyncIterable<Uint8Array>,
  bytes: number,
  header: boolean,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let first: Uint8Array | undefined;
  let parts: Uint8Array[] = [];
  let length = 0;
  for await (let chunk of chunks) {
    if (header && !first) {
      const lf = chunk.indexOf(LF);
      if (lf < 0) {
        parts.push(chunk);
        length += chunk.length;
        continue;
      }
      first = join([...parts, chunk.subarray(0, lf + 1)]);
      chunk = chunk.subarray(lf + 1);
      parts = [first];
      length = first.length;
    }
    while (length + chunk.length >= bytes) {
      const lf = chunk.lastIndexOf(LF, Math.max(0, bytes - length - 1));
      const end = lf >= 0 ? lf : chunk.indexOf(LF);
      if (end < 0) break;
      yield join([...parts, chunk.subarray(0, end + 1)]);
      chunk = chunk.subarray(end + 1);
      parts = first ? [first] : [];
      length = first?.length ?? 0;
    }
    if (chunk.length) parts.push(chunk);
    length += chunk.length;
  }
  if (length > (first?.length ?? 0)) yield join(parts);
}

function join(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
