/**
 * Small JSON files with their checksum: `{"crc":"0123abcd",` and the rest of the object, of whose bytes up to the end of the file that
 * is the CRC-32 in hexadecimal. One that is valid JSON and was changed all the same is found out.
 */
import { crc32 } from "node:zlib";

const HEAD = /^\{"crc":"([0-9a-f]{8})",$/;
const HEAD_BYTES = '{"crc":"00000000",'.length;

/** The text of an object, which must not be empty. */
export function seal(content: object): string {
  const rest = JSON.stringify(content).slice(1);
  return `{"crc":"${crc32(rest).toString(16).padStart(8, "0")}",${rest}`;
}

/**
 * The object in such a file. Files that were written before there were checksums start with `unsealed`, and are read as they are.
 * Throws an Error that says what is wrong, without the name of the file.
 */
export function unseal(bytes: Buffer, unsealed: string): unknown {
  const head = HEAD.exec(bytes.toString("latin1", 0, HEAD_BYTES));
  if (!head && bytes.toString("latin1", 0, unsealed.length) !== unsealed)
    throw new Error(bytes.length ? "it does not start as it should" : "it is empty");
  if (head && crc32(bytes.subarray(HEAD_BYTES)) !== Number.parseInt(head[1], 16))
    throw new Error("its bytes were changed");
  return JSON.parse(bytes.toString());
}

/** Whether a value of JSON is a number that counts something. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
