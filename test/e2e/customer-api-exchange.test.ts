/** The client against servers that break off, hang or do not speak HTTP: what is known of the command afterwards. */
import type http from "node:http";
import type net from "node:net";
import { setImmediate } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import {
  ANSWER,
  connect,
  failureOf,
  listenTcp,
  request,
  sendJson,
  startApi,
  startServer,
  startTokenApi,
} from "../support/customer-api-server.ts";
import { eventually } from "../support/eventually.ts";

describe("a broken connection", () => {
  test("refused: nothing was sent", async () => {
    const server = await startServer(() => undefined);
    await server.close();
    const { api, observed } = startApi();

    const failure = failureOf(await api.send(connect(server.url), request()));

    expect(failure).toMatchObject({
      errorClass: "network",
      delivery: "not_sent",
      countsAsAttempt: true,
      httpStatus: null,
    });
    expect(failure.message).toContain("ECONNREFUSED");
    expect(observed).toMatchObject([{ result: "network" }]);
  });

  test("an unknown host: nothing was sent", async () => {
    const { api } = startApi();

    const failure = failureOf(await api.send(connect("http://api.invalid"), request()));

    expect(failure).toMatchObject({ errorClass: "network", delivery: "not_sent" });
  });

  test("a server that speaks no TLS: nothing was sent", async () => {
    const port = await listenTcp((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    const { api } = startApi();

    const failure = failureOf(await api.send(connect(`https://127.0.0.1:${port}`), request()));

    expect(failure).toMatchObject({ errorClass: "network", delivery: "not_sent" });
  });

  test("a header that cannot be sent: nothing was sent, and no account is to blame", async () => {
    const server = await startServer((_, response) => sendJson(response, 200, ANSWER));
    const { api } = startApi();

    const result = await api.send(
      connect(server.url, { headers: { "x-bad": "a\r\nevil: 1" } }),
      request(),
    );

    expect(failureOf(result)).toMatchObject({ errorClass: "network", delivery: "not_sent" });
    expect(server.requests).toHaveLength(0);
  });

  test.each([
    ["closed after the request", (socket: net.Socket) => socket.destroy()],
    ["reset after the request", (socket: net.Socket) => socket.resetAndDestroy()],
    ["answered with no HTTP", (socket: net.Socket) => socket.end("hello\r\n\r\n")],
    [
      "cut off in the body",
      (socket: net.Socket) =>
        socket.end('HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{"customer":'),
    ],
    [
      "cut off in a chunk",
      (socket: net.Socket) =>
        socket.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{"customer":'),
    ],
    [
      "cut off where no header gave the length",
      (socket: net.Socket) =>
        socket.end('HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{"customer":{"data":{"id":"c"'),
    ],
  ])("%s: the outcome is unknown", async (_, react) => {
    const port = await listenTcp((socket) => socket.once("data", () => react(socket)));
    const { api } = startApi();

    const failure = failureOf(await api.send(connect(`http://127.0.0.1:${port}`), request()));

    expect(failure).toMatchObject({ errorClass: "network", delivery: "unknown" });
  });

  test("a stale keep-alive socket: the outcome is unknown, and nothing was repeated", async () => {
    let requests = 0;
    const port = await listenTcp((socket) => {
      socket.on("error", () => undefined);
      socket.on("data", () => {
        requests += 1;
        const body = JSON.stringify(ANSWER);
        // The second request on this socket meets a server that has just gone.
        if (requests === 1) {
          socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
        } else socket.resetAndDestroy();
      });
    });
    const { api } = startApi();

    const first = await api.send(connect(`http://127.0.0.1:${port}`), request());
    const second = await api.send(connect(`http://127.0.0.1:${port}`), request());

    expect(first.kind).toBe("accepted");
    expect(failureOf(second)).toMatchObject({ errorClass: "network", delivery: "unknown" });
    expect(requests).toBe(2);
  });

  test("an answer without end is broken off at 4 MiB", async () => {
    let written = 0;
    const server = await startServer((_, response) => {
      response.writeHead(200, { "content-type": "application/json" });
      const chunk = Buffer.alloc(64 * 1024, " ");
      const pour = () => {
        while (!response.destroyed) {
          written += chunk.length;
          if (!response.write(chunk)) return response.once("drain", pour);
        }
        return undefined;
      };
      pour();
    });
    const { api } = startApi();

    const failure = failureOf(await api.send(connect(server.url), request()));

    expect(failure).toMatchObject({ errorClass: "network", delivery: "unknown" });
    expect(failure.message).toContain("4 MiB");
    // What the kernel's buffers took on top of the 4 MiB.
    expect(written).toBeLessThan(32 * 1024 * 1024);
  });

  test("ten thousand headers are broken off", async () => {
    const port = await listenTcp((socket) => {
      socket.on("error", () => undefined);
      const headers = Array.from({ length: 10_000 }, (_, i) => `x-${i}: y\r\n`).join("");
      socket.once("data", () => socket.end(`HTTP/1.1 200 OK\r\n${headers}\r\n{}`));
    });
    const { api } = startApi();

    const failure = failureOf(await api.send(connect(`http://127.0.0.1:${port}`), request()));

    expect(failure).toMatchObject({ errorClass: "network", delivery: "unknown" });
  });
});

describe("an answer", () => {
  test("in many pieces is read whole, also where a character is cut in two", async () => {
    const answer = { ...ANSWER, customer: { data: { id: "cus-1", name: "Warung Éa 😀" } } };
    const bytes = Buffer.from(`\uFEFF${JSON.stringify(answer)}`);
    const server = await startServer(async (_, response) => {
      response.writeHead(200, { "content-type": "application/json" });
      for (const byte of bytes) {
        response.write(Buffer.of(byte));
        await setImmediate();
      }
      response.end();
    });
    const { api } = startApi();

    const result = await api.send(connect(server.url), request());

    expect(result).toMatchObject({ kind: "accepted", body: answer });
  });

  test("comes after what informs of it", async () => {
    const server = await startServer((_, response) => {
      response.writeEarlyHints({ link: "</style.css>; rel=preload" });
      sendJson(response, 201, ANSWER);
    });
    const { api } = startApi();

    const result = await api.send(connect(server.url), request());

    expect(result).toMatchObject({ kind: "accepted", httpStatus: 201 });
  });
});

describe("time", () => {
  test.each([
    ["never answers", () => undefined],
    [
      "stops in the body",
      (response: http.ServerResponse) => {
        response.writeHead(200, { "content-type": "application/json" });
        response.write('{"customer":');
      },
    ],
    [
      "trickles",
      (response: http.ServerResponse) => {
        response.writeHead(200, { "content-type": "application/json" });
        const timer = setInterval(() => response.write(" "), 20);
        response.on("close", () => clearInterval(timer));
      },
    ],
  ])("a server that %s is left after the timeout, outcome unknown", async (_, react) => {
    const server = await startServer((_request, response) => react(response));
    const { api, observed } = startApi({ timeoutMs: 200 });
    const startedAt = performance.now();

    const failure = failureOf(await api.send(connect(server.url), request()));

    expect(failure).toMatchObject({ errorClass: "timeout", delivery: "unknown" });
    expect(performance.now() - startedAt).toBeLessThan(1_500);
    expect(observed).toMatchObject([{ result: "timeout" }]);
    await eventually(() => expect(server.openSockets()).toBe(0));
  });

  test("no connection in time: nothing was sent, and nothing is sent later", async () => {
    // The kernel completes the TCP handshake, but the TLS hello is not answered: no connection for a request.
    const received: Buffer[] = [];
    const port = await listenTcp((socket) => {
      socket.on("error", () => undefined);
      socket.on("data", (data) => received.push(data));
    });
    const { api } = startApi({ timeoutMs: 200 });
    const startedAt = performance.now();

    const failure = failureOf(await api.send(connect(`https://127.0.0.1:${port}`), request()));

    expect(failure).toMatchObject({ errorClass: "timeout", delivery: "not_sent" });
    expect(performance.now() - startedAt).toBeLessThan(1_500);
    expect(Buffer.concat(received).includes("ACC-1")).toBe(false);
  });

  test("a request given up on the way is an unknown outcome and no attempt", async () => {
    const server = await startServer(() => undefined);
    const { api } = startApi();
    const controller = new AbortController();

    const sending = api.send(connect(server.url), request({ signal: controller.signal }));
    await eventually(() => expect(server.requests).toHaveLength(1));
    controller.abort();
    const failure = failureOf(await sending);

    expect(failure).toMatchObject({ delivery: "unknown", countsAsAttempt: false });
    await eventually(() => expect(server.openSockets()).toBe(0));
  });

  test("a request given up before it began is not sent", async () => {
    const server = await startServer((_, response) => sendJson(response, 200, ANSWER));
    const { api } = startApi();

    const result = await api.send(connect(server.url), request({ signal: AbortSignal.abort() }));

    expect(failureOf(result)).toMatchObject({ delivery: "not_sent", countsAsAttempt: false });
    expect(server.requests).toHaveLength(0);
  });

  test("a request that may not begin any more when its connection stands is not written", async () => {
    const server = await startServer((_, response) => sendJson(response, 200, ANSWER));
    const { api } = startApi();
    let asked = 0;

    const result = await api.send(connect(server.url), request({ mayBegin: () => ++asked === 0 }));

    expect(asked).toBe(1);
    expect(failureOf(result)).toMatchObject({ delivery: "not_sent", countsAsAttempt: false });
    expect(server.requests).toHaveLength(0);
  });

  test("a request that was renewed after a refused token asks again whether it may begin", async () => {
    const server = await startTokenApi();
    const { api } = startApi();
    await api.send(server.connection(), request());
    server.accepts = "token-2";
    let asked = 0;

    const result = await api.send(
      server.connection(),
      request({ idempotencyKey: "second", mayBegin: () => ++asked === 1 }),
    );

    expect(failureOf(result)).toMatchObject({ delivery: "not_sent", countsAsAttempt: false });
    expect(asked).toBe(2);
  });

  test("closing the client breaks off what is in flight", async () => {
    const server = await startServer(() => undefined);
    const { api } = startApi();

    const sending = api.send(connect(server.url), request());
    await eventually(() => expect(server.requests).toHaveLength(1));
    await api.close();

    expect(failureOf(await sending)).toMatchObject({ errorClass: "network", delivery: "unknown" });
  });
});
