/** Values of options. A value that is none is refused with what would be one. */
import { InvalidArgumentError } from "commander";

export function positive(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError("It is a whole number from 1.");
  return Number(text);
}

export function whole(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("It is a whole number from 0.");
  return Number(text);
}

/** An option that may be given several times. */
export function collect(text: string, before: string[] = []): string[] {
  return [...before, text];
}

/** `512M`, `2G`, `1.5GiB`, or bytes. */
export function bytes(text: string): number {
  const found = /^(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?$/i.exec(text);
  const unit = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 }[found?.[2].toUpperCase() ?? ""];
  if (!found || !unit || Number(found[1]) <= 0)
    throw new InvalidArgumentError("It is a size, such as 512M or 2G.");
  return Math.round(Number(found[1]) * unit);
}

/** One byte, as a character; `tab` and `\t` are a tab. Its code. */
export function character(text: string): number {
  const one = text === "\\t" || text === "tab" ? "\t" : text;
  if (Buffer.byteLength(one) !== 1 || one === '"' || one === "\n" || one === "\r") {
    throw new InvalidArgumentError("It is one byte, and neither a quote nor a line break.");
  }
  return one.charCodeAt(0);
}

/** The same as the character itself. */
export function separator(text: string): string {
  return String.fromCharCode(character(text));
}

/** A name under which bodies are numbered. */
export function producer(text: string): string {
  if (!/^[A-Za-z0-9._-]{1,128}$/.test(text))
    throw new InvalidArgumentError("It is 1 to 128 letters, digits, dots, - and _.");
  return text;
}

export function list(text: string): string[] {
  const names = text.split(",").map((name) => name.trim());
  if (names.some((name) => !name)) throw new InvalidArgumentError("They are names joined by commas.");
  return names;
}

/** Seconds as milliseconds. */
export function milliseconds(text: string): number {
  const seconds = Number(text);
  if (!(seconds > 0) || seconds > 86_400)
    throw new InvalidArgumentError("They are seconds, from 0 to 86400.");
  return seconds * 1000;
}

/** `zip=text,price=decimal`: types by name. A name may hold `=`. */
export function types(text: string): Record<string, string> {
  const pairs = text.split(",").map((pair) => /^(.+)=([^=]+)$/.exec(pair.trim()));
  if (!pairs.every((pair) => pair))
    throw new InvalidArgumentError("It is a list of names and types, such as zip=text,price=decimal.");
  return Object.fromEntries(pairs.map((pair) => [pair![1].trim(), pair![2].trim()]));
}
