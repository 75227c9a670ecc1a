/** When nothing may be sent: outages, refused tokens and Retry-After, on a clock that the test sets. */
import { describe, expect, test } from "vitest";
import { createConnectionCircuits } from "../../src/customer-api/connection-circuits.ts";
import type { ApiConnection, ApiFailure, ApiResult } from "../../src/customer-api/customer-api.ts";

const connection: ApiConnection = {
  configId: null,
  baseUrl: "https://api.example",
  createMethod: "POST",
  createPath: "/create",
  updateMethod: "PUT",
  updatePath: "/update/{id}",
  lookupPath: null,
  auth: { kind: "none" },
  headers: {},
};

describe("an outage", () => {
  test("five failures in a row open the circuit, and nothing is sent while it is open", async () => {
    const api = setUp();

    for (let i = 1; i <= 5; i++) await api.send(serverError(), { key: `k${i}` });
    const refused = await api.send(ok());

    expect(api.sent).toBe(5);
    expect(refused).toMatchObject({
      kind: "failed",
      failure: {
        errorClass: "server",
        delivery: "not_sent",
        countsAsAttempt: false,
        retryAfterMs: 1_000,
      },
    });
    expect(api.states).toEqual(["open"]);
    expect(api.circuits.available()).toBe(1_000);
  });

  test("a success in between starts the count again", async () => {
    const api = setUp();

    for (let i = 1; i <= 4; i++) await api.send(serverError(), { key: `k${i}` });
    await api.send(ok());
    for (let i = 5; i <= 8; i++) await api.send(serverError(), { key: `k${i}` });

    expect(api.states).toEqual([]);
  });

  test("rejections are signs of life", async () => {
    const api = setUp();

    for (let i = 1; i <= 20; i++) await api.send(failure({ errorClass: "rejected" }));

    expect(api.states).toEqual([]);
    expect(api.sent).toBe(20);
  });

  test("one poisonous command does not stop the others, however often it is repeated", async () => {
    const api = setUp();

    for (let i = 1; i <= 20; i++) await api.send(serverError(), { key: "poison" });

    expect(api.states).toEqual([]);
  });

  test("a refused connection is no command's fault and opens the circuit by itself", async () => {
    const api = setUp();
    const refused = failure({ errorClass: "network", delivery: "not_sent" });

    for (let i = 1; i <= 5; i++) await api.send(refused, { key: "the only one" });

    expect(api.states).toEqual(["open"]);
  });

  test("timeouts with an unknown outcome count too", async () => {
    const api = setUp();

    for (let i = 1; i <= 5; i++) {
      await api.send(failure({ errorClass: "timeout", delivery: "unknown" }), { key: `k${i}` });
    }

    expect(api.states).toEqual(["open"]);
  });

  test("after the backoff one probe goes out, and its success lets all sends through", async () => {
    const api = setUp();
    await api.open();
    api.advance(1_000);
    const probe = Promise.withResolvers<ApiResult>();

    const probing = api.send(probe.promise);
    const beside = await api.send(ok());
    probe.resolve(ok());
    await probing;
    const after = await api.send(ok());

    expect(beside).toMatchObject({ kind: "failed", failure: { delivery: "not_sent" } });
    expect(after.kind).toBe("accepted");
    expect(api.states).toEqual(["open", "half_open", "closed"]);
    expect(api.circuits.available()).toBe(0);
  });

  test("failed probes double the wait up to the longest backoff", async () => {
    const api = setUp();
    await api.open();

    const waits: number[] = [];
    for (let i = 0; i < 6; i++) {
      waits.push(api.circuits.available());
      api.advance(api.circuits.available());
      await api.send(serverError());
    }

    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
    expect(api.sent).toBe(5 + 6);
  });

  test("a probe that was given up proves nothing: the circuit stays closed to sends", async () => {
    const api = setUp();
    await api.open();
    api.advance(1_000);

    await api.send(failure({ errorClass: "network", isGivenUp: true }));

    expect(api.states.at(-1)).toBe("open");
    expect(api.circuits.available()).toBe(2_000);
  });

  test("sends that were given up are no outage", async () => {
    const api = setUp();

    for (let i = 1; i <= 20; i++) {
      await api.send(failure({ errorClass: "network", isGivenUp: true }), { key: `k${i}` });
    }

    expect(api.states).toEqual([]);
  });

  test("the wall clock may jump an hour back without prolonging the wait", async () => {
    const api = setUp();
    const realNow = Date.now;
    try {
      await api.open();
      Date.now = () => realNow() - 3_600_000;
      api.advance(1_000);

      const probe = await api.send(ok());

      expect(probe.kind).toBe("accepted");
    } finally {
      Date.now = realNow;
    }
  });
});

describe("a 5xx is blamed on the send", () => {
  const blamed = (result: ApiResult) =>
    result.kind === "failed" && result.failure.isAboutSend === true;
  const gateway = (httpStatus: number) =>
    failure({ errorClass: "server", delivery: "unknown", httpStatus });

  test("when the API itself answers it while the circuit is closed", async () => {
    const api = setUp();

    expect(blamed(await api.send(serverError(), { key: "poison" }))).toBe(true);
  });

  test.each([502, 503, 504])(
    "not when a gateway answers %i, unless others got through since",
    async (status) => {
      const api = setUp();

      const first = await api.send(gateway(status), { key: "poison" });
      const again = await api.send(gateway(status), { key: "poison" });
      await api.send(ok(), { key: "other" });
      const afterOthers = await api.send(gateway(status), { key: "poison" });

      expect([first, again, afterOthers].map(blamed)).toEqual([false, false, true]);
    },
  );

  test("not of a probe: everything fails", async () => {
    const api = setUp();
    for (let i = 1; i <= 5; i++) await api.send(serverError(), { key: `k${i}` });
    api.advance(1_000);

    const probe = await api.send(serverError(), { key: "k1" });

    expect(api.states.slice(0, 2)).toEqual(["open", "half_open"]);
    expect(blamed(probe)).toBe(false);
  });

  test("not when it was not sent: a token endpoint's 500 knows nothing of the command", async () => {
    const api = setUp();
    const noToken = failure({ errorClass: "server", delivery: "not_sent", httpStatus: 500 });

    await api.send(noToken, { key: "mine" });
    await api.send(ok(), { key: "other" });

    expect(blamed(await api.send(noToken, { key: "mine" }))).toBe(false);
  });

  test("not where no answer came", async () => {
    const api = setUp();

    const lost = await api.send(failure({ errorClass: "network", delivery: "unknown" }));

    expect(blamed(lost)).toBe(false);
  });
});

describe("a refused token", () => {
  test("stops all sends at once, with the reason, until a probe gets through", async () => {
    const api = setUp();
    const unauthorized = failure({
      errorClass: "unauthorized",
      delivery: "not_applied",
      countsAsAttempt: false,
      message: "check the client secret",
    });

    await api.send(unauthorized);
    const refused = await api.send(ok());
    api.advance(1_000);
    const probe = await api.send(ok());

    expect(refused).toMatchObject({
      failure: { errorClass: "unauthorized", delivery: "not_sent", countsAsAttempt: false },
    });
    expect(probe.kind).toBe("accepted");
    expect(api.states).toEqual(["open", "half_open", "closed"]);
    expect(api.reasons[0]).toContain("check the client secret");
  });
});

describe("throttling", () => {
  const throttled = (retryAfterMs: number | null) =>
    failure({
      errorClass: "throttled",
      delivery: "not_applied",
      countsAsAttempt: false,
      httpStatus: 429,
      retryAfterMs,
    });

  test("Retry-After stops all sends, without opening the circuit", async () => {
    const api = setUp();

    await api.send(throttled(3_000));
    const early = await api.send(ok());
    api.advance(2_999);
    const stillEarly = await api.send(ok());
    api.advance(1);
    const inTime = await api.send(ok());

    expect(early).toMatchObject({
      failure: { errorClass: "throttled", delivery: "not_sent", retryAfterMs: 3_000 },
    });
    expect(stillEarly).toMatchObject({ failure: { retryAfterMs: 1 } });
    expect(inTime.kind).toBe("accepted");
    expect(api.states).toEqual([]);
  });

  test("an earlier, longer wait is not shortened by a later answer", async () => {
    const api = setUp();

    const first = Promise.withResolvers<ApiResult>();
    const sending = api.send(first.promise);
    await api.send(throttled(9_000));
    first.resolve(throttled(1_000));
    const result = await sending;

    expect(result).toMatchObject({ failure: { retryAfterMs: 9_000 } });
  });

  test.each([null, 0])("Retry-After %j: our own pause, growing", async (retryAfterMs) => {
    const api = setUp();

    await api.send(throttled(retryAfterMs));
    const first = api.circuits.available();
    api.advance(first);
    await api.send(throttled(retryAfterMs));

    expect([first, api.circuits.available()]).toEqual([1_000, 2_000]);
  });

  test.each(["not_applied", "unknown"] as const)(
    "a 503 with Retry-After stops all sends too, one without does not: %s",
    async (delivery) => {
      const api = setUp();
      const unavailable = { errorClass: "server", delivery, httpStatus: 503 } as const;

      await api.send(failure(unavailable));
      const without = api.circuits.available();
      await api.send(failure({ ...unavailable, retryAfterMs: 2_000 }));

      expect(without).toBe(0);
      expect(api.circuits.available()).toBe(2_000);
    },
  );
});

describe("several connections", () => {
  const other: ApiConnection = { ...connection, configId: "7", baseUrl: "https://other.example" };

  test("one that is down leaves the other alone, and the gauge shows the worse", async () => {
    const api = setUp();
    await api.send(ok(), { connection: other });
    await api.open();

    const result = await api.send(ok(), { connection: other });

    expect(result.kind).toBe("accepted");
    expect(api.circuits.available()).toBe(0);
    expect(api.states).toEqual(["open"]);
  });

  test("one that recovers does not hide another that is still down", async () => {
    const api = setUp();
    await api.open();
    await api.open(other);
    api.advance(1_000);

    await api.send(ok(), { connection: other });

    expect(api.states.at(-1)).toBe("open");
  });

  test("an edited configuration starts afresh", async () => {
    const api = setUp();
    await api.open();

    const result = await api.send(ok(), {
      connection: { ...connection, baseUrl: "https://moved.example" },
    });

    expect(result.kind).toBe("accepted");
    expect(api.states).toEqual(["open", "closed"]);
    expect(api.circuits.available()).toBe(0);
  });
});

describe("how many sends make sense", () => {
  const other: ApiConnection = { ...connection, configId: "7", baseUrl: "https://other.example" };

  test("none while all wait, one when a probe is due, any number when it got through", async () => {
    const api = setUp();
    const probe = Promise.withResolvers<ApiResult>();

    const before = api.circuits.usefulSends();
    await api.open();
    const whileOpen = api.circuits.usefulSends();
    api.advance(1_000);
    const probeDue = api.circuits.usefulSends();
    const probing = api.send(probe.promise);
    const probeOut = api.circuits.usefulSends();
    probe.resolve(ok());
    await probing;

    expect([before, whileOpen, probeDue, probeOut]).toEqual([Infinity, 0, 1, 0]);
    expect(api.circuits.usefulSends()).toBe(Infinity);
  });

  test("a configuration not used for minutes is not open to sends during another's outage", async () => {
    const api = setUp();
    await api.send(ok(), { connection: other });
    api.advance(5 * 60_000 - 1);
    await api.open();
    const remembered = [api.circuits.available(), api.circuits.usefulSends()];

    api.advance(1);

    expect(remembered).toEqual([0, Infinity]);
    expect([api.circuits.available(), api.circuits.usefulSends()]).toEqual([999, 0]);
  });

  test("one that is used again counts again", async () => {
    const api = setUp();
    await api.send(ok(), { connection: other });
    api.advance(5 * 60_000);
    await api.open();

    await api.send(ok(), { connection: other });

    expect([api.circuits.available(), api.circuits.usefulSends()]).toEqual([0, Infinity]);
  });

  test("an open circuit and a throttled one are not forgotten, however long they are not used", async () => {
    const api = setUp();
    const wait = 15 * 60_000;
    await api.open();
    api.advance(10 * 60_000);
    const open = api.circuits.usefulSends();
    const throttled = failure({ errorClass: "throttled", httpStatus: 429, retryAfterMs: wait });

    await api.send(ok());
    await api.send(throttled);
    api.advance(10 * 60_000);

    expect(open).toBe(1);
    expect([api.circuits.available(), api.circuits.usefulSends()]).toEqual([5 * 60_000, 0]);
  });
});

describe("a wait that concerns all replicas", () => {
  test("is announced when the API asks for it, and for nothing else", async () => {
    const api = setUp();

    await api.send(failure({ errorClass: "throttled", httpStatus: 429, retryAfterMs: 7_000 }));
    api.advance(7_000);
    await api.send(serverError());

    expect(api.announced).toEqual([[connection.baseUrl, 7_000]]);
  });

  test("stops our sends when another one was asked", async () => {
    const api = setUp();

    api.circuits.startWait(connection, 7_000);
    const refused = await api.send(ok());

    expect(refused).toMatchObject({
      kind: "failed",
      failure: { errorClass: "throttled", delivery: "not_sent", countsAsAttempt: false },
    });
    expect([api.circuits.available(), api.circuits.usefulSends()]).toEqual([7_000, 0]);
    expect(api.announced).toEqual([]);
  });
});

describe("what stops the sending", () => {
  test("nothing, an open circuit, the probe on its way, nothing again", async () => {
    const api = setUp();
    const seen: unknown[] = [api.circuits.findObstacle(null)];

    await api.open();
    seen.push(api.circuits.findObstacle(null));
    api.advance(1_000);
    const probe = Promise.withResolvers<ApiResult>();
    const probing = api.send(probe.promise);
    seen.push(api.circuits.findObstacle(null));
    probe.resolve(ok());
    await probing;
    seen.push(api.circuits.findObstacle(null));

    expect(seen).toEqual([
      null,
      { by: "circuit_open", reason: "the API answered 500", sinceMs: 5_000, untilMs: 6_000 },
      { by: "circuit_open", reason: "the API answered 500", sinceMs: 5_000, untilMs: 6_000 },
      null,
    ]);
  });

  test("is said in our own words: the API's answer was about one account, and may have quoted its name", async () => {
    const api = setUp();
    const message = "create answered 401: no token for Toko Mawar";

    await api.send(failure({ errorClass: "unauthorized", httpStatus: 401, message }));
    const unmarked = api.circuits.findObstacle(null)?.reason;
    const ofOthers = await api.send(ok());
    api.advance(1_000);
    const ownWords = "create answered 401; check the token";
    await api.send(failure({ errorClass: "unauthorized", httpStatus: 401, message, ownWords }));

    expect(unmarked).toBe("the API answered 401");
    expect(JSON.stringify(ofOthers)).not.toContain("Mawar");
    expect(api.circuits.findObstacle(null)?.reason).toBe(ownWords);
  });

  test("a refused token, until one is accepted", async () => {
    const api = setUp();

    await api.send(failure({ errorClass: "unauthorized", message: "401" }));
    const refused = api.circuits.findObstacle(null);
    api.advance(1_000);
    await api.send(ok());

    expect(refused).toEqual({ by: "unauthorized", reason: "401", sinceMs: 5_000, untilMs: 6_000 });
    expect(api.circuits.findObstacle(null)).toBeNull();
  });

  test("since it began, through probes that fail; anew when it becomes another", async () => {
    const api = setUp();

    await api.open();
    api.advance(1_000);
    await api.send(serverError());
    const same = api.circuits.findObstacle(null);
    api.advance(2_000);
    await api.send(failure({ errorClass: "unauthorized" }));
    const other = api.circuits.findObstacle(null);
    api.advance(4_000);
    await api.send(ok());
    await api.open();
    const again = api.circuits.findObstacle(null);

    expect([same, other, again]).toMatchObject([
      { by: "circuit_open", sinceMs: 5_000, untilMs: 8_000 },
      { by: "unauthorized", sinceMs: 8_000, untilMs: 12_000 },
      { by: "circuit_open", sinceMs: 12_000, untilMs: 13_000 },
    ]);
  });

  test("a wait that the API asked us or another replica for", async () => {
    const api = setUp();

    api.circuits.startWait(connection, 3_000);
    const held = api.circuits.findObstacle(null);
    api.advance(3_000);

    expect(held).toMatchObject({ by: "retry_after", sinceMs: 5_000, untilMs: 8_000 });
    expect(api.circuits.findObstacle(null)).toBeNull();
  });

  test("an open circuit that is not probed is no stop any more a minute after its time", async () => {
    const api = setUp();

    await api.open();
    api.advance(61_000);
    const before = api.circuits.findObstacle(null);
    api.advance(1);

    expect(before).toMatchObject({ by: "circuit_open" });
    expect(api.circuits.findObstacle(null)).toBeNull();
    // The next send is a probe all the same.
    expect(api.circuits.usefulSends()).toBe(1);
  });

  test("the default connection, whatever others do; another one only where nothing else is open to sends", async () => {
    const api = setUp();
    const other = { ...connection, configId: "other" };

    await api.send(failure({ errorClass: "unauthorized" }), { connection: other });
    const otherAlone = [api.circuits.findObstacle(null), api.circuits.findCommonObstacle()];
    await api.send(ok());
    const defaultSends = [api.circuits.findObstacle(null), api.circuits.findCommonObstacle()];
    await api.open();
    api.advance(1_000);
    await api.send(ok(), { connection: other });
    const otherSends = [
      api.circuits.findObstacle(null),
      api.circuits.findObstacle("other"),
      api.circuits.findCommonObstacle(),
    ];

    expect(otherAlone).toMatchObject([null, { by: "unauthorized" }]);
    expect(defaultSends).toEqual([null, null]);
    expect(otherSends).toMatchObject([{ by: "circuit_open" }, null, null]);
  });
});

function setUp() {
  let now = 5_000;
  const states: string[] = [];
  const reasons: string[] = [];
  const announced: [baseUrl: string, forMs: number][] = [];
  const circuits = createConnectionCircuits({
    onWaitAsked: (baseUrl, forMs) => announced.push([baseUrl, forMs]),
    backoffMinMs: 1_000,
    backoffMaxMs: 10_000,
    now: () => now,
    // The upper end of the jitter: waits are the full backoff.
    random: () => 1,
    observe: {
      circuit: (state, reason) => {
        states.push(state);
        reasons.push(reason);
      },
    },
  });

  const api = {
    circuits,
    states,
    reasons,
    announced,
    sent: 0,
    advance(ms: number) {
      now += ms;
    },
    send(
      result: ApiResult | Promise<ApiResult>,
      options: { key?: string; connection?: ApiConnection } = {},
    ) {
      return circuits.guard(options.connection ?? connection, {
        subject: options.key ?? "key",
        run: async () => {
          api.sent += 1;
          return result;
        },
      });
    },
    async open(connectionToOpen = connection) {
      for (let i = 1; i <= 5; i++) {
        await api.send(serverError(), { key: `k${i}`, connection: connectionToOpen });
      }
    },
  };
  return api;
}

function ok(): ApiResult {
  const none = { present: false, items: [], failed: 0, errors: [] };
  return {
    kind: "accepted",
    httpStatus: 200,
    answer: { refusal: null, customer: none, branch: none, tier: none, crew: none },
  };
}

function serverError(): ApiResult {
  return failure({ errorClass: "server", delivery: "unknown", httpStatus: 500 });
}

function failure(given: Partial<ApiFailure>): ApiResult {
  return {
    kind: "failed",
    failure: {
      errorClass: "server",
      delivery: "unknown",
      countsAsAttempt: true,
      httpStatus: null,
      message: "it failed",
      retryAfterMs: null,
      ...given,
    },
  };
}
