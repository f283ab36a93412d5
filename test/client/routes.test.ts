/** Which hosts of a cluster a client asks, one after the other. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Routes } from "../../host/client/routes.ts";

const headers = (more: Record<string, string>) => new Headers(more);
const notConnected = (code: string) => ({ code: "host-unreachable", cause: { cause: { code } } });

test("a stream is asked for where it is once that is known, then where it was named, then elsewhere", () => {
  const routes = new Routes(["http://a", "http://b"]);
  assert.equal(routes.of("/v1/streams/s/records"), ["http://a", "http://b"]);
  routes.heard("/v1/streams/s", "http://a", headers({ "hallelujah-hosts": "http://b http://c what?" }));
  assert.equal(routes.of("/v1/streams/s"), ["http://a", "http://b", "http://c"]);
  routes.heard("/v1/streams/s?x=1", "http://a", headers({ "hallelujah-served-by": "http://c" }));
  assert.equal(routes.of("/v1/streams/s/tables/t"), ["http://c", "http://a", "http://b"]);
  assert.equal(routes.of("/v1/streams/other"), ["http://a", "http://b", "http://c"]);
  assert.equal(routes.of("/v1/hosts"), ["http://a", "http://b", "http://c"]);
  routes.heard("/v1/streams/s", "http://c", headers({ "hallelujah-served-by": "no address" }));
  assert.is(routes.of("/v1/streams/s")[0], "http://c");
});

test("a host that answers is asked first from then on", () => {
  const routes = new Routes(["http://a", "http://b"]);
  routes.heard("/v1/hosts", "http://b", headers({}));
  assert.equal(routes.of("/v1/streams/s"), ["http://b", "http://a"]);
});

test("who has answered is asked again, though it does not name itself", () => {
  const routes = new Routes(["http://a"]);
  routes.heard("/v1/hosts", "http://a", headers({ "hallelujah-hosts": "http://b http://c" }));
  routes.heard("/v1/hosts", "http://c", headers({ "hallelujah-hosts": "http://a http://b" }));
  assert.equal(routes.of("/v1/hosts"), ["http://a", "http://c", "http://b"]);
});

test("another host is asked where nobody has done anything of a call, and only there", () => {
  const routes = new Routes(["http://a", "http://b"]);
  const failed = (error: object) => routes.failed("POST", "/v1/streams/s", "http://a", error);
  assert.ok(failed(notConnected("ECONNREFUSED")));
  assert.ok(failed(notConnected("UND_ERR_CONNECT_TIMEOUT")));
  assert.not(failed(notConnected("ECONNRESET")), "it may have been taken");
  assert.ok(
    routes.failed("GET", "/v1/streams/s", "http://a", notConnected("ECONNRESET")),
    "it changes nothing",
  );
  assert.not(failed({ code: "connection-lost" }));
  assert.not(failed({ code: "host-lost" }));
  assert.not(failed({ code: "stream-unknown" }), "any host knows all streams");
});

test("a stream that is not where it was is looked for again", () => {
  for (const error of [
    { code: "stream-unknown" },
    notConnected("ECONNREFUSED"),
    notConnected("ECONNRESET"),
  ]) {
    const routes = new Routes(["http://a"]);
    routes.heard("/v1/streams/s", "http://a", headers({ "hallelujah-served-by": "http://c" }));
    routes.failed("POST", "/v1/streams/s", "http://c", { code: "stream-paused" });
    assert.equal(routes.of("/v1/streams/s"), ["http://c", "http://a"]);
    routes.failed("POST", "/v1/streams/s", "http://c", error);
    assert.equal(routes.of("/v1/streams/s"), ["http://a"]);
  }
});

test.run();
