/**
 * The dispatcher and the fold loop over a queue in memory: when it claims, how much, and when it stops. Its clock is played: what a test waits for
 * without letting time pass happens at once.
 */
import { afterEach, describe, expect, test } from "vitest";
import type { Observe } from "../../src/ops/observe.ts";
import { Dispatcher } from "../../src/queue/dispatcher.ts";
import { FoldLoop } from "../../src/queue/fold-loop.ts";
import type { Lease } from "../../src/queue/lease.ts";
import type { Claim, Queue } from "../../src/queue/queue.ts";
import { type Capacity, UNLIMITED } from "../../src/queue/room.ts";
import type { Outcome } from "../../src/sync/outcome.ts";
import { eventually } from "../support/eventually.ts";
import { createPlayedClock, type PlayedClock } from "../support/played-clock.ts";

const SYNCED: Outcome = {
  name: "synced",
  operation: "create",
  httpStatus: 200,
  errorClass: null,
  error: null,
  updated: { account: 1, tier: 0, pic: 0 },
  failed: [],
};

const scenes: Scene[] = [];

afterEach(async () => {
  for (const { dispatcher, foldLoop, runs } of scenes.splice(0)) {
    for (const run of runs) run.end();
    await foldLoop.stop();
    await dispatcher.stop(0);
  }
});

interface Scene {
  readonly clock: PlayedClock;
  readonly dispatcher: Dispatcher;
  readonly foldLoop: FoldLoop;
  start(): void;
  /** As a notification does. */
  wake(): void;
  /** What the dispatcher sees; to be replaced in part. */
  readonly queue: Partial<Queue>;
  /** Account ids by the time they fall due (monotonic), as the tables would hold them. */
  readonly due: Map<string, number>;
  readonly changes: string[];
  readonly runs: Run[];
  readonly events: string[];
  /** What the queue's next calls fail with. */
  readonly failures: { fold: unknown[]; claim: unknown[]; renew: unknown[]; release: unknown[] };
  readonly lost: Set<string>;
}

interface Run {
  readonly claim: Claim;
  readonly lease: Lease;
  end(outcome?: Outcome | null): void;
  fail(error: unknown): void;
}

function setUp(
  options: {
    readonly capacity?: Partial<Capacity>;
    readonly concurrency?: number;
    readonly sweepIntervalMs?: number;
    readonly leaseMs?: number;
    /** Runs end as soon as they have begun. */
    readonly endsAtOnce?: boolean;
  } = {},
): Scene {
  const clock = createPlayedClock();
  const due = new Map<string, number>();
  const changes: string[] = [];
  const runs: Run[] = [];
  const events: string[] = [];
  const lost = new Set<string>();
  const failures = {
    fold: [] as unknown[],
    claim: [] as unknown[],
    renew: [] as unknown[],
    release: [] as unknown[],
  };
  const failOnce = (errors: unknown[]) => {
    const error = errors.shift();
    if (error !== undefined) throw error;
  };

  const queue: Partial<Queue> = {
    leaseMs: options.leaseMs ?? 30_000,
    silenceMs: Math.min((options.leaseMs ?? 30_000) * 0.9, 3_000),
    async fold() {
      events.push("fold");
      failOnce(failures.fold);
      const folded = changes.splice(0);
      for (const id of folded) due.set(id, clock.now());
      return { changes: folded.length, accounts: folded.length, markers: 0 };
    },
    expand: async () => false,
    async claim(limit) {
      events.push(`claim ${limit}`);
      failOnce(failures.claim);
      const ids = [...due]
        .filter(([, at]) => at <= clock.now())
        .map(([id]) => id)
        .slice(0, limit);
      for (const id of ids) due.delete(id);
      return ids.map(toClaim);
    },
    async nextDueInMs() {
      return due.size === 0 ? null : Math.min(...due.values()) - clock.now();
    },
    async renew(claims) {
      events.push("renew");
      failOnce(failures.renew);
      return new Set(claims.map(({ accountId }) => accountId).filter((id) => !lost.has(id)));
    },
    async release(claims) {
      failOnce(failures.release);
      for (const { accountId } of claims) events.push(`release ${accountId}`);
    },
  };

  const dispatcher = new Dispatcher({
    clock,
    due: queue as Queue,
    run: (claim, lease) => {
      const { promise, resolve, reject } = Promise.withResolvers<Outcome | null>();
      runs.push({ claim, lease, end: (outcome = SYNCED) => resolve(outcome), fail: reject });
      if (options.endsAtOnce === true) resolve(SYNCED);
      return promise;
    },
    capacity: { ...UNLIMITED, ...options.capacity },
    onMoreDue: async () => {
      events.push("ring");
    },
    observe: observeInto(events),
    concurrency: options.concurrency ?? 2,
    slots: { refuseWaiting: () => {} },
    sweepIntervalMs: options.sweepIntervalMs ?? 10_000,
  });
  const foldLoop = new FoldLoop({
    clock,
    fold: () => (queue as Queue).fold(),
    expand: () => (queue as Queue).expand(),
    doorbell: { afterLook: async () => 10_000 },
    onDue: () => dispatcher.wake(),
    observe: observeInto(events),
    sweepIntervalMs: options.sweepIntervalMs ?? 10_000,
  });
  const scene: Scene = {
    clock,
    dispatcher,
    foldLoop,
    start() {
      dispatcher.start();
      foldLoop.start();
    },
    wake: () => foldLoop.wake(),
    queue,
    due,
    changes,
    runs,
    events,
    failures,
    lost,
  };
  scenes.push(scene);
  return scene;
}

function toClaim(accountId: string): Claim {
  return {
    accountId,
    leaseToken: crypto.randomUUID(),
    generation: "1",
    trigger: "change",
    pendingMs: 0,
    attempts: 0,
    failuresAlike: 0,
    failureKind: null,
    createsEnded: 0,
    replace: false,
    discard: false,
    userId: null,
    configId: null,
    force: false,
    retry: false,
    fingerprint: null,
    removedExternalId: null,
  };
}

function observeInto(events: string[]): Observe {
  return new Proxy({} as Observe, {
    get: (_, name) => () => {
      events.push(String(name));
    },
  });
}

function makeDue(scene: Scene, count: number): void {
  for (let index = 0; index < count; index += 1) scene.due.set(`account-${index}`, 0);
}

const outage = () => Object.assign(new Error("x"), { code: "57P03" });

test("has half as many more at work than requests in flight while they end slowly, and gets through everything", async () => {
  const scene = setUp();
  makeDue(scene, 20);
  scene.start();

  let most = 0;
  for (let ended = 0; ended < 20; ended += 1) {
    await eventually(() => expect(scene.runs.length).toBeGreaterThan(ended));
    most = Math.max(most, scene.dispatcher.runningCount);
    await scene.clock.pass(1_000);
    scene.runs[ended]?.end();
  }
  await eventually(() => expect(scene.dispatcher.runningCount).toBe(0));

  expect(most).toBe(3);
  expect(scene.runs.map(({ claim }) => claim.accountId)).toEqual(
    Array.from({ length: 20 }, (_, index) => `account-${index}`),
  );
});

test("the faster accounts come to their end, the more are at work, and they are claimed in batches", async () => {
  const scene = setUp({ concurrency: 20 });
  makeDue(scene, 400);
  scene.start();
  await eventually(() => expect(scene.runs).toHaveLength(30));

  for (const run of scene.runs) run.end();
  await eventually(() => expect(scene.runs).toHaveLength(30 + 20 + 30 * 1.5));
  await scene.clock.pass(1_000);
  const claims = scene.events.filter((event) => event.startsWith("claim ")).length;
  for (const run of scene.runs.slice(30)) run.end();
  await eventually(() => expect(scene.dispatcher.runningCount).toBeGreaterThan(100));

  expect(scene.events.filter((event) => event.startsWith("claim ")).length - claims).toBeLessThan(
    5,
  );
});

test("the place of an account that has ended is filled at once", async () => {
  const scene = setUp({ concurrency: 1 });
  makeDue(scene, 3);
  scene.start();
  await eventually(() => expect(scene.runs).toHaveLength(2));

  scene.runs[0]?.end();

  await eventually(() => expect(scene.runs).toHaveLength(3), { timeoutMs: 500 });
});

test("tells the other replicas when there is more than it can take, and not all the time", async () => {
  const scene = setUp({ endsAtOnce: true, concurrency: 1 });
  makeDue(scene, 30);
  scene.start();

  await eventually(() => expect(scene.runs).toHaveLength(30));

  expect(scene.events.filter((event) => event === "ring")).toHaveLength(1);
});

test("comes back for an account when it falls due", async () => {
  const scene = setUp({ endsAtOnce: true });
  scene.due.set("later", scene.clock.now() + 150);
  scene.start();

  await scene.clock.pass(149);
  expect(scene.runs).toHaveLength(0);
  await scene.clock.pass(1);
  expect(scene.runs).toHaveLength(1);
});

test("an account that is due again after its run is not kept waiting for the sweep", async () => {
  const scene = setUp();
  makeDue(scene, 1);
  scene.start();
  await eventually(() => expect(scene.runs).toHaveLength(1));

  scene.due.set("account-0", scene.clock.now() + 50);
  scene.runs[0]?.end();
  await scene.clock.pass(50);

  expect(scene.runs).toHaveLength(2);
});

test("a wake folds what has changed and runs it", async () => {
  const scene = setUp({ endsAtOnce: true });
  scene.start();
  await eventually(() => expect(scene.events).toContain("claim 3"));

  scene.changes.push("changed");
  scene.wake();

  await eventually(() => expect(scene.runs[0]?.claim.accountId).toBe("changed"), {
    timeoutMs: 500,
  });
});

test("a wake claims what somebody else made due, also when nothing has changed", async () => {
  const scene = setUp({ endsAtOnce: true });
  scene.start();
  await eventually(() => expect(scene.events).toContain("claim 3"));

  makeDue(scene, 1);
  scene.wake();

  await eventually(() => expect(scene.runs).toHaveLength(1), { timeoutMs: 500 });
});

test("rests when there is nothing to do", async () => {
  const scene = setUp();
  scene.start();
  await eventually(() => expect(scene.events).toContain("claim 3"));
  const before = scene.events.length;

  await scene.clock.pass(200);

  expect(scene.events.length).toBeLessThanOrEqual(before + 1);
});

test("does not spin while a due account cannot be claimed", async () => {
  const scene = setUp();
  Object.assign(scene.queue, { nextDueInMs: async () => -5_000 });
  scene.start();

  // A millisecond at a time: a loop that spins makes thousands of turns meanwhile.
  for (let ms = 0; ms < 300; ms += 1) await scene.clock.pass(1);

  const claims = scene.events.filter((event) => event.startsWith("claim"));
  expect(claims.length).toBeGreaterThan(2);
  expect(claims.length).toBeLessThan(30);
});

test("claims nothing while the API is not available, and goes on when it is", async () => {
  let isAvailable = false;
  const scene = setUp({
    endsAtOnce: true,
    capacity: { availableInMs: () => (isAvailable ? 0 : 50) },
  });
  makeDue(scene, 2);
  scene.start();
  scene.changes.push("changed");
  scene.wake();
  await scene.clock.pass(150);
  const whileAway = scene.events.filter((event) => event.startsWith("claim"));
  const folded = scene.changes.length;

  isAvailable = true;
  await scene.clock.pass(50);

  expect(scene.runs).toHaveLength(3);
  expect(whileAway).toEqual([]);
  expect(folded).toBe(0);
});

test("lets one probe go ahead after an outage, and claims no more until it is back", async () => {
  let usefulSends = 1;
  const scene = setUp({ capacity: { usefulSends: () => usefulSends } });
  makeDue(scene, 3);
  scene.start();
  await eventually(() => expect(scene.runs).toHaveLength(1));
  await scene.clock.pass(100);
  const claims = scene.events.filter((event) => event.startsWith("claim"));

  usefulSends = Number.POSITIVE_INFINITY;
  scene.runs[0]?.end();

  await eventually(() => expect(scene.runs).toHaveLength(3), { timeoutMs: 500 });
  expect(claims).toEqual(["claim 1"]);
});

test("stops by finishing what is in flight, and claims nothing more", async () => {
  const scene = setUp();
  makeDue(scene, 10);
  scene.start();
  await eventually(() => expect(scene.runs).toHaveLength(3));

  const stopped = scene.dispatcher.stop(5_000);
  for (const run of scene.runs) run.end();
  await stopped;

  expect(scene.runs).toHaveLength(3);
  expect(scene.runs.some(({ lease }) => lease.signal.aborted)).toBe(false);
  expect(scene.dispatcher.runningCount).toBe(0);
});

test("aborts what does not end within the deadline", async () => {
  const scene = setUp();
  makeDue(scene, 1);
  scene.start();
  await eventually(() => expect(scene.runs).toHaveLength(1));
  const [run] = scene.runs;
  run?.lease.signal.addEventListener("abort", () => run.end(null));

  const stopped = scene.dispatcher.stop(50);
  await scene.clock.pass(50);
  await stopped;

  expect(run?.lease.signal.reason).toMatchObject({ message: "the process is shutting down" });
  expect(run?.lease.leaving.aborted).toBe(true);
  expect(scene.events).toContain("release account-0");
});

describe("a drain with more time for creates", () => {
  const prepare = async () => {
    const scene = setUp();
    makeDue(scene, 2);
    scene.start();
    await eventually(() => expect(scene.runs).toHaveLength(2));
    const [create, other] = scene.runs;
    if (create === undefined || other === undefined) throw new Error("two runs were expected");
    other.lease.signal.addEventListener("abort", () => other.end(null));
    create.lease.signal.addEventListener("abort", () => create.end(null));
    return { scene, create, other };
  };

  test("waits for the answer of a create, and for nothing else any longer than before", async () => {
    const { scene, create, other } = await prepare();
    const answer = Promise.withResolvers<void>();
    const answered = create.lease.waitFor(() => answer.promise);

    const stopped = scene.dispatcher.stop(50, 500);
    await scene.clock.pass(50);
    expect(other.lease.leaving.aborted).toBe(true);
    await scene.clock.pass(400);
    expect(create.lease.signal.aborted).toBe(false);
    expect(scene.dispatcher.waitsForCreates).toBe(true);
    answer.resolve();
    await answered;
    create.end();
    await stopped;

    expect(create.lease.signal.aborted).toBe(false);
    expect(scene.events.filter((event) => event.startsWith("release"))).toEqual([
      "release account-1",
    ]);
  });

  test("gives a create up that is not answered within it", async () => {
    const { scene, create } = await prepare();
    void create.lease.waitFor(() => new Promise(() => {}));

    const stopped = scene.dispatcher.stop(50, 500);
    await scene.clock.pass(499);
    expect(create.lease.leaving.aborted).toBe(false);
    await scene.clock.pass(1);
    await stopped;

    expect(create.lease.leaving.aborted).toBe(true);
  });

  test("is over as soon as nothing waits for an answer", async () => {
    const { scene, create } = await prepare();

    const stopped = scene.dispatcher.stop(50, 500);
    await scene.clock.pass(50);
    await stopped;

    expect(create.lease.leaving.aborted).toBe(true);
    expect(scene.dispatcher.waitsForCreates).toBe(false);
  });

  test("has time for a request that ends before it, and before it begins for any", async () => {
    const { scene, create } = await prepare();
    const before = create.lease.hasTimeFor(1_000_000);

    const stopped = scene.dispatcher.stop(400, 500);
    const at = [create.lease.hasTimeFor(500), create.lease.hasTimeFor(501)];
    await scene.clock.pass(200);
    const later = [create.lease.hasTimeFor(300), create.lease.hasTimeFor(301)];
    for (const run of scene.runs) run.end();
    await stopped;

    expect([before, at, later]).toEqual([true, [true, false], [true, false]]);
  });
});

describe("an account that is given back while the database is away", () => {
  const failing = async (outages: number, options: Parameters<typeof setUp>[0] = {}) => {
    const scene = setUp(options);
    makeDue(scene, 1);
    scene.failures.release.push(...Array.from({ length: outages }, outage));
    scene.start();
    await eventually(() => expect(scene.runs).toHaveLength(1));
    scene.runs[0]?.fail(outage());
    await eventually(() => expect(scene.dispatcher.runningCount).toBe(0));
    return scene;
  };
  const isReleased = (scene: Scene) => scene.events.includes("release account-0");

  test("is given back when the database answers, and takes no slot meanwhile", async () => {
    const scene = await failing(5, { concurrency: 1 });
    expect(isReleased(scene)).toBe(false);
    makeDue(scene, 1);
    scene.wake();
    await eventually(() => expect(scene.runs).toHaveLength(2));

    for (let second = 0; second < 10 && !isReleased(scene); second += 1)
      await scene.clock.pass(1_000);

    expect(isReleased(scene)).toBe(true);
    scene.runs[1]?.end();
  });

  test("is left to its lease when that has run out", async () => {
    const scene = await failing(1_000, { leaseMs: 3_000 });

    await scene.clock.pass(10_000);
    const left = scene.failures.release.length;
    await scene.clock.pass(10_000);

    expect(left).toBeGreaterThan(980);
    expect(scene.failures.release).toHaveLength(left);
  });

  test("does not hold up a process that leaves for longer than what is aborted may take", async () => {
    const scene = await failing(1_000);

    const stopped = scene.dispatcher.stop(60_000);
    await scene.clock.pass(2_000);
    await stopped;
    const left = scene.failures.release.length;
    await scene.clock.pass(30_000);

    expect(scene.failures.release.length).toBeGreaterThanOrEqual(left - 1);
  });
});

test("gives back what it claims in the moment of stopping", async () => {
  const scene = setUp();
  const { promise: claiming, resolve } = Promise.withResolvers<Claim[]>();
  Object.assign(scene.queue, {
    claim: () => {
      scene.events.push("claim");
      return claiming;
    },
  });
  scene.start();
  await eventually(() => expect(scene.events).toContain("claim"));

  const stopped = scene.dispatcher.stop(5_000);
  resolve([toClaim("late")]);
  await stopped;

  expect(scene.runs).toEqual([]);
  expect(scene.events).toContain("release late");
});

const LEASE_MS = 1_000;

test("a lease that is renewed lets its run go on; a lost one aborts it", async () => {
  const scene = setUp({ leaseMs: LEASE_MS });
  makeDue(scene, 2);
  scene.start();
  await eventually(() => expect(scene.runs).toHaveLength(2));

  scene.lost.add("account-1");
  await scene.clock.pass(LEASE_MS / 3);
  expect(scene.runs[1]?.lease.signal.aborted).toBe(true);
  await scene.clock.pass(2 * LEASE_MS);
  expect(scene.events.filter((event) => event === "renew").length).toBeGreaterThan(6);
  scene.runs[1]?.end(null);
  await eventually(() => expect(scene.events).toContain("leaseLost"));

  expect(scene.runs[1]?.lease.leaving.aborted).toBe(false);
  expect(scene.runs[1]?.lease.isHeld()).toBe(false);
  expect(scene.runs[0]?.lease.isHeld()).toBe(true);
  expect(scene.runs[0]?.lease.signal.aborted).toBe(false);
  scene.runs[0]?.end();
});

test("a run whose lease could not be renewed in time is aborted before somebody else may have it", async () => {
  const scene = setUp({ leaseMs: LEASE_MS });
  makeDue(scene, 1);
  scene.failures.renew.push(outage(), outage(), outage(), outage(), outage());
  scene.start();
  await eventually(() => expect(scene.runs).toHaveLength(1));

  await scene.clock.pass(LEASE_MS - 1);

  expect(scene.runs[0]?.lease.signal.aborted).toBe(true);
  expect(scene.runs[0]?.lease.leaving.aborted).toBe(false);
  scene.runs[0]?.end(null);
});

test("claims whose answer came too late are given back, not run", async () => {
  const scene = setUp({ leaseMs: 100 });
  Object.assign(scene.queue, {
    claim: async () => {
      await scene.clock.pass(120);
      return scene.events.includes("release late") ? [] : [toClaim("late")];
    },
  });

  scene.start();

  await eventually(() => expect(scene.events).toContain("release late"));
  expect(scene.runs).toEqual([]);
});

test("full slots do not make every look search for markers", async () => {
  const scene = setUp({ concurrency: 1, sweepIntervalMs: 60 });
  let searches = 0;
  Object.assign(scene.queue, {
    expand: async () => {
      searches += 1;
      return false;
    },
  });
  // One request in flight, and one account beside it.
  makeDue(scene, 3);
  scene.start();
  await eventually(() => expect(scene.runs).toHaveLength(2));

  const startedAt = scene.clock.now();
  const before = searches;
  for (let look = 0; look < 40; look += 1) {
    scene.wake();
    // Ten looks within each sweep.
    await scene.clock.pass(6);
  }
  const sweeps = (scene.clock.now() - startedAt) / 60;

  expect(searches - before).toBeGreaterThan(0);
  expect(searches - before).toBeLessThanOrEqual(Math.ceil(sweeps) + 1);
});

test("a marker that fails is told, and disturbs nobody", async () => {
  const scene = setUp({ endsAtOnce: true });
  const results = [{ error: new Error("a bad marker") }, true, false];
  Object.assign(scene.queue, {
    expand: async () => {
      scene.events.push("expand");
      return results.shift() ?? false;
    },
  });
  makeDue(scene, 1);
  scene.start();

  await eventually(() => expect(scene.runs).toHaveLength(1), { timeoutMs: 500 });
  await eventually(() => expect(results).toEqual([]), { timeoutMs: 500 });

  expect(scene.events.filter((event) => event === "databaseTrouble")).toHaveLength(1);
  expect(scene.events).not.toContain("databaseBack");
});

test("an account that is claimed again while its old run goes on is run after it, never beside it", async () => {
  const scene = setUp();
  makeDue(scene, 1);
  scene.start();
  await eventually(() => expect(scene.runs).toHaveLength(1));
  makeDue(scene, 1);
  scene.wake();
  scene.changes.push("other");
  await eventually(() => expect(scene.runs[0]?.lease.signal.aborted).toBe(true));
  const whileOld = scene.runs.filter(({ claim }) => claim.accountId === "account-0").length;

  scene.runs[0]?.end(null);
  await eventually(() =>
    expect(scene.runs.filter(({ claim }) => claim.accountId === "account-0")).toHaveLength(2),
  );

  expect(whileOld).toBe(1);
  expect(scene.dispatcher.runningCount).toBe(2);
  for (const run of scene.runs) run.end();
});

test("trouble is repeated with pauses until it is over", async () => {
  const scene = setUp({ endsAtOnce: true });
  makeDue(scene, 1);
  scene.failures.claim.push(outage(), outage(), outage());
  scene.start();

  await scene.clock.pass(300);
  expect(scene.runs).toHaveLength(0);
  await scene.clock.pass(400);
  expect(scene.runs).toHaveLength(1);

  expect(scene.events.filter((event) => event === "databaseTrouble")).toHaveLength(3);
  await eventually(() => expect(scene.events).toContain("databaseBack"));
});

test("what is due is worked off also while nothing can be folded", async () => {
  const scene = setUp({ endsAtOnce: true });
  makeDue(scene, 1);
  scene.failures.fold.push(...Array.from({ length: 50 }, () => new Error("a bad change")));
  scene.start();

  await eventually(() => expect(scene.runs).toHaveLength(1), { timeoutMs: 500 });
});

test.each([
  ["an outage gives the account back", outage(), "databaseTrouble", true],
  ["a bug leaves it to the end of its lease", new RangeError("x"), "warning", false],
])("a run that throws: %s", async (_, error, told, isReleased) => {
  const scene = setUp();
  makeDue(scene, 1);
  scene.start();
  await eventually(() => expect(scene.runs).toHaveLength(1));

  scene.runs[0]?.fail(error);
  await eventually(() => expect(scene.dispatcher.runningCount).toBe(0));

  expect(scene.events).toContain(told);
  expect(scene.events.includes("release account-0")).toBe(isReleased);
});
