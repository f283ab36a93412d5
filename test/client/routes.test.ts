/** Which hosts of a cluster a client asks, one after the other. */
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Connection } from "../../host/client/connection.ts";
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

test("who has answered is asked first from then on, though it was not named and does not name itself", () => {
  const routes = new Routes(["http://a"]);
  routes.heard("/v1/hosts", "http://a", headers({ "hallelujah-hosts": "http://b http://c" }));
  routes.heard("/v1/hosts", "http://c", headers({ "hallelujah-hosts": "http://a http://b" }));
  assert.equal(routes.of("/v1/hosts"), ["http://c", "http://a", "http://b"]);
  assert.equal(routes.of("/v1/streams/s"), ["http://c", "http://a", "http://b"]);
});

test("a host that was asked for its stream alone is not asked first for anything else", () => {
  const routes = new Routes(["http://a"]);
  routes.heard("/v1/streams/s", "http://a", headers({ "hallelujah-served-by": "http://b" }));
  routes.heard("/v1/streams/s", "http://b", headers({ "hallelujah-hosts": "http://a" }));
  assert.equal(
    routes.of("/v1/host"),
    ["http://a", "http://b"],
    "what is said of a host is said of the named one",
  );
});

test("an address that was not reached is asked last for a while, which doubles", () => {
  let now = 1_000;
  const routes = new Routes(["http://a"], () => now);
  const path = "/v1/streams/s";
  const served = headers({ "hallelujah-served-by": "http://c", "hallelujah-hosts": "http://b http://c" });
  const first = () => routes.of(path)[0];
  const heard = () => routes.heard(path, "http://a", served);
  heard();
  for (const ms of [5_000, 10_000, 20_000]) {
    assert.is(first(), "http://c");
    // Two calls at the same time.
    for (let i = 0; i < 2; i++)
      assert.ok(routes.failed("POST", path, "http://c", notConnected("UND_ERR_CONNECT_TIMEOUT")));
    heard();
    now += ms - 1;
    heard();
    assert.equal(routes.of(path), ["http://a", "http://b", "http://c"]);
    assert.is(routes.of("/v1/streams/other").at(-1), "http://c");
    now += 1;
  }
  assert.is(first(), "http://c");
  routes.heard(path, "http://c", headers({}));
  routes.failed("POST", path, "http://c", notConnected("ECONNREFUSED"));
  heard();
  now += 5_000;
  assert.is(first(), "http://c", "the first time again, as it was reached in between");
  routes.failed("POST", path, "http://c", notConnected("ECONNRESET"));
  heard();
  assert.is(first(), "http://c", "it was reached");
});

test("what is at an address and is no host is not taken for one", async () => {
  const servers: Server[] = [];
  const serve = async (listener: RequestListener) => {
    const server = createServer(listener).listen(0, "127.0.0.1");
    servers.push(server);
    await once(server, "listening");
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  let asked = 0;
  let isHidden = true;
  const other = await serve((_, response) => {
    asked++;
    response.writeHead(404, { "content-type": "text/html" }).end("<h1>no such page</h1>");
  });
  const host = await serve((_, response) => {
    const told = { "hallelujah-served-by": other, "hallelujah-hosts": other };
    if (isHidden) response.writeHead(502, { "content-type": "text/html", ...told }).end("<h1>log in</h1>");
    else response.writeHead(200, { "content-type": "application/json", ...told }).end("{}");
  });
  try {
    const connection = new Connection(host);
    // Something in between, which says where to go: it is not believed.
    const refused = connection.json("GET", "/v1/streams/s", {});
    assert.is(await refused.catch(({ code }: { code: string }) => code), "host-unknown");
    isHidden = false;
    await connection.json("GET", "/v1/streams/s", {});
    assert.is(asked, 0);
    for (let i = 0; i < 2; i++) assert.equal(await connection.json("GET", "/v1/streams/s", {}), {});
    assert.is(asked, 1);
    for (const method of ["POST", "GET"])
      assert.equal(await connection.json(method, "/v1/streams/t", {}), {}, "where it is not known");
    assert.is(asked, 1);
  } finally {
    for (const server of servers) {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  }
});

test("a call that changes something is not made twice, whatever answers", () => {
  const routes = new Routes(["http://a"]);
  const path = "/v1/streams/s";
  routes.heard(path, "http://a", headers({ "hallelujah-served-by": "http://c" }));
  assert.not(routes.failed("POST", path, "http://c", { code: "host-unknown" }));
  assert.is(routes.of(path)[0], "http://a", "the next one goes elsewhere");
  assert.not(routes.failed("GET", path, "http://a", { code: "host-unknown" }), "its user named it");
});

test("what goes over TLS stays there", () => {
  const told = (at: string) =>
    headers({ "hallelujah-served-by": at, "hallelujah-hosts": `${at} ftp://d https://e` });
  const safe = new Routes(["https://a"]);
  safe.heard("/v1/streams/s", "https://a", told("http://c"));
  assert.equal(safe.of("/v1/streams/s"), ["https://a", "https://e"]);
  safe.heard("/v1/streams/s", "https://a", told("https://c"));
  assert.equal(safe.of("/v1/streams/s"), ["https://c", "https://a", "https://e"]);
  const plain = new Routes(["http://a"]);
  plain.heard("/v1/streams/s", "http://a", told("http://c"));
  assert.equal(plain.of("/v1/streams/s"), ["http://c", "http://a", "https://e"]);
});

test("the client of a host alone asks that one, whatever became of earlier calls", () => {
  const routes = new Routes(["http://a"]);
  for (const path of ["/v1/streams/s", "/v1/hosts"]) {
    assert.ok(routes.failed("POST", path, "http://a", notConnected("ECONNREFUSED")));
    assert.equal(routes.of(path), ["http://a"]);
    routes.heard(path, "http://a", headers({}));
    assert.equal(routes.of(path), ["http://a"]);
    assert.not(routes.failed("POST", path, "http://a", { code: "stream-unknown" }));
    assert.equal(routes.of(path), ["http://a"]);
  }
});

test("another host is asked where nobody has done anything of a call, and only there", () => {
  const routes = new Routes(["http://a", "http://b"]);
  const failed = (error: object) => routes.failed("POST", "/v1/streams/s", "http://a", error);
  assert.ok(failed(notConnected("ECONNREFUSED")));
  assert.ok(failed(notConnected("UND_ERR_CONNECT_TIMEOUT")));
  assert.not(failed(notConnected("ECONNRESET")), "it may have been taken");
  for (const code of ["EHOSTUNREACH", "ENETUNREACH"]) {
    assert.not(failed(notConnected(code)), "they may end an established connection");
    assert.not(failed({ code: "host-unreachable", cause: { cause: { code, syscall: "read" } } }));
    assert.ok(failed({ code: "host-unreachable", cause: { cause: { code, syscall: "connect" } } }));
    assert.ok(routes.failed("GET", "/v1/streams/s", "http://a", notConnected(code)));
  }
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
