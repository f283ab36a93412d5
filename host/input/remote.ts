/** Inputs that lie on servers: http(s) and s3 URLs. */
import { HallelujahError } from "../core/errors.ts";
import { remoteBody } from "./remote-body.ts";
import {
  type Answer,
  headerOf,
  isTransient,
  type Remote,
  send,
  tryLater,
  unreadable,
} from "./remote-requests.ts";
import { s3Object } from "./s3.ts";

const REDIRECTS_MAX = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** The bytes of a URL, and its name for messages. */
export function openRemote(
  url: string,
  signal: AbortSignal,
): { name: string; chunks: AsyncGenerator<Buffer> } {
  const remote = /^s3:/i.test(url) ? s3Object(url) : httpObject(url);
  return { name: remote.name, chunks: remoteBody(remote, signal) };
}

/** An http(s) URL. Its query and credentials stay out of messages, as they may be secrets. */
function httpObject(given: string): Remote {
  if (!URL.canParse(given)) throw new HallelujahError("usage", "an input that starts with http is no URL");
  const url = new URL(given);
  const name = `${url.origin}${url.pathname}`;
  const get = async (headers: Record<string, string>, signal: AbortSignal): Promise<Answer> => {
    let at = url;
    for (let hops = 0; hops <= REDIRECTS_MAX; hops++) {
      const secret = at.origin === url.origin && url.username ? authorization(url) : {};
      const answer = await send(name, at.origin, at.pathname + at.search, { ...headers, ...secret }, signal);
      const { statusCode } = answer;
      if (!REDIRECTS.has(statusCode)) return taken(name, answer);
      await answer.body.dump();
      const location = headerOf(answer, "location") ?? "";
      const next = URL.canParse(location, at) ? new URL(location, at) : undefined;
      if (!next || !/^https?:$/.test(next.protocol))
        throw unreadable(name, "it is redirected to no http(s) URL");
      at = next;
    }
    throw unreadable(name, `it is redirected more than ${REDIRECTS_MAX} times`);
  };
  return { name, get };
}

async function taken(name: string, answer: Answer): Promise<Answer> {
  const { statusCode } = answer;
  if (statusCode === 200 || statusCode === 206 || statusCode === 412 || statusCode === 416) return answer;
  await answer.body.dump();
  if (isTransient(statusCode)) throw tryLater(answer, "");
  throw unreadable(name, `the server answered ${statusCode}`);
}

function authorization({ username, password }: URL): Record<string, string> {
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { authorization: `Basic ${Buffer.from(pair).toString("base64")}` };
}
