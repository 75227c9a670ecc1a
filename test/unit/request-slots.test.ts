/** Requests in flight, and sends that are journaled ahead of them: neither is more than it may be, and nothing waits for ever. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RequestSlots } from "../../src/queue/request-slots.ts";

/** Moved by the test. */
const clock = { at: 0, now: () => clock.at };

describe("slots", () => {
  test("no more requests are in flight than there are slots, in the order of asking", async () => {
    const slots = new RequestSlots(2, clock);
    const flight = openFlight(slots);

    for (const name of ["a", "b", "c", "d"]) void flight.ask(name);
    await settled();
    expect(flight.begun).toEqual(["a", "b"]);

    flight.end("b");
    await settled();
    expect(flight.begun).toEqual(["a", "b", "c"]);

    flight.end("a");
    flight.end("c");
    await settled();
    expect(flight.begun).toEqual(["a", "b", "c", "d"]);
  });

  test("a request that throws hands its slot on, and its error to its caller", async () => {
    const slots = new RequestSlots(1, clock);
    const failing = slots.use(async () => {
      throw new RangeError("no such host");
    });
    const next = slots.use(async () => "answered");

    await expect(failing).rejects.toThrow(new RangeError("no such host"));
    expect(await next).toBe("answered");
    expect(await slots.use(async () => "and free again")).toBe("and free again");
  });

  test("one that throws before it returns a promise does so, too", async () => {
    const slots = new RequestSlots(1, clock);
    const failing = slots.use(() => {
      throw new RangeError("no such host");
    });

    await expect(failing).rejects.toThrow(RangeError);
    expect(await slots.use(async () => "free")).toBe("free");
  });

  test("a slot that is handed over is not taken by one that asks just then", async () => {
    const slots = new RequestSlots(1, clock);
    const flight = openFlight(slots);
    void flight.ask("a");
    void flight.ask("b");
    await settled();

    flight.end("a");
    void flight.ask("c");
    await settled();

    expect(flight.begun).toEqual(["a", "b"]);
    expect(flight.mostInFlight).toBe(1);
  });
});

describe("admission", () => {
  test.each([
    [1, 2],
    [2, 3],
    [4, 6],
    [16, 24],
    [100, 150],
  ])("while little is sent, %i slots admit %i sends", async (concurrency, admitted) => {
    const slots = new RequestSlots(concurrency, clock);
    const queue = openAdmission(slots);

    queue.ask(2 * admitted);
    await settled();

    expect(queue.admitted).toHaveLength(admitted);
  });

  test("while much is sent, as many more are admitted as the slots take in a fortieth of a second", async () => {
    const slots = new RequestSlots(4, clock);
    await send(slots, 100);
    const queue = openAdmission(slots);

    queue.ask(200);
    await settled();

    expect(queue.admitted).toHaveLength(4 + 25);
  });

  test("what was admitted at a high pace is not followed by others before the slower pace allows it", async () => {
    const slots = new RequestSlots(4, clock);
    await send(slots, 100);
    const queue = openAdmission(slots);
    queue.ask(200);
    await settled();

    // So long that the pace is forgotten: six are allowed now.
    clock.at += 10_000;
    await queue.leave(23);
    expect(queue.admitted).toHaveLength(29);

    await queue.leave();
    expect(queue.admitted).toHaveLength(30);
  });

  test("they are admitted in groups, so that one transaction journals several", async () => {
    const slots = new RequestSlots(16, clock);
    const queue = openAdmission(slots);
    queue.ask(100);
    await settled();
    const sizes: number[] = [];

    for (let left = 0; left < 24; left += 1) {
      const before = queue.admitted.length;
      await queue.leave();
      if (queue.admitted.length > before) sizes.push(queue.admitted.length - before);
    }

    // Half of what is admitted ahead.
    expect(sizes).toEqual(Array(6).fill(4));
  });

  test("in the order of asking; and who comes while others wait goes behind them, room or not", async () => {
    const slots = new RequestSlots(16, clock);
    const queue = openAdmission(slots);
    queue.ask(30);
    await settled();
    // There is room for one, and the group is not complete.
    await queue.leave();

    queue.ask(1);
    await settled();
    expect(queue.admitted).toHaveLength(24);

    while (queue.admitted.length < 31) await queue.leave();
    expect(queue.admitted).toEqual(Array.from({ length: 31 }, (_, n) => n));
  });

  test("one that waits alone is admitted when the last of the others has left", async () => {
    const slots = new RequestSlots(1, clock);
    const queue = openAdmission(slots);
    queue.ask(3);
    await settled();

    await queue.leave();

    expect(queue.admitted).toEqual([0, 1, 2]);
  });
});

test("work that fails leaves, too, and its error goes to its caller", async () => {
  const slots = new RequestSlots(1, clock);
  const failing = async () => {
    throw new RangeError("no such database");
  };

  for (let n = 0; n < 10; n += 1)
    await expect(slots.admit(waitingLease(), failing)).rejects.toThrow(RangeError);

  expect(await slots.admit(waitingLease(), async () => "free")).toBe("free");
});

describe("a drain", () => {
  test("refuses what waits, and nothing of what was admitted", async () => {
    const slots = new RequestSlots(4, clock);
    const queue = openAdmission(slots);
    queue.ask(10);
    await settled();

    queue.lease.isDraining = true;
    slots.refuseWaiting();
    await settled();

    expect(queue.admitted).toEqual([0, 1, 2, 3, 4, 5]);
    expect(queue.refused).toEqual([6, 7, 8, 9]);
  });

  test("leaves what is admitted its slots", async () => {
    const slots = new RequestSlots(1, clock);
    const flight = openFlight(slots);
    const lease = waitingLease();
    void slots.admit(lease, () => flight.ask("a"));
    void slots.admit(lease, () => flight.ask("b"));
    await settled();

    lease.isDraining = true;
    slots.refuseWaiting();
    flight.end("a");
    await settled();

    expect(flight.begun).toEqual(["a", "b"]);
  });

  test("refuses who comes later and would have to wait, and admits who need not", async () => {
    const slots = new RequestSlots(4, clock);
    const queue = openAdmission(slots);
    queue.ask(6);
    await settled();
    queue.lease.isDraining = true;
    slots.refuseWaiting();

    queue.ask(1);
    await settled();
    await queue.leave();
    queue.ask(1);
    await settled();

    expect(queue.refused).toEqual([6]);
    expect(queue.admitted).toEqual([0, 1, 2, 3, 4, 5, 7]);
  });

  test("refuses nothing of another dispatcher that shares the slots", async () => {
    const slots = new RequestSlots(4, clock);
    const [draining, other] = [openAdmission(slots), openAdmission(slots)];
    draining.ask(8);
    other.ask(2);
    await settled();

    draining.lease.isDraining = true;
    slots.refuseWaiting();
    await draining.leave(6);

    expect(draining.refused).toEqual([6, 7]);
    expect(other.refused).toEqual([]);
    expect(other.admitted).toEqual([0, 1]);
  });
});

test("whatever comes and goes at whatever pace: the bounds hold, and all arrive", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 20 }),
      fc.array(
        fc.record({
          come: fc.nat(30),
          end: fc.nat(30),
          throws: fc.boolean(),
          passMs: fc.nat(150),
        }),
        { maxLength: 40 },
      ),
      async (concurrency, steps) => {
        const slots = new RequestSlots(concurrency, clock);
        const flight = openFlight(slots);
        const lease = waitingLease();
        let asked = 0;
        let admitted = 0;
        let mostAdmitted = 0;
        let over = 0;
        const come = async (name: string) => {
          await slots.admit(lease, async () => {
            admitted += 1;
            mostAdmitted = Math.max(mostAdmitted, admitted);
            await flight.ask(name).catch(() => {});
            admitted -= 1;
          });
          over += 1;
        };

        for (const { come: count, end, throws, passMs } of steps) {
          for (let n = 0; n < count; n += 1) void come(`${asked++}`);
          await settled();
          for (const name of flight.inFlight().slice(0, end)) flight.end(name, throws);
          await settled();
          clock.at += passMs;
        }
        while (flight.inFlight().length > 0) {
          for (const name of flight.inFlight()) flight.end(name);
          await settled();
        }

        expect(flight.mostInFlight).toBeLessThanOrEqual(concurrency);
        // No window has more requests than there are in all.
        const aheadMax = Math.ceil(Math.max(concurrency / 2, asked / 4));
        expect(mostAdmitted).toBeLessThanOrEqual(concurrency + aheadMax);
        expect(over).toBe(asked);
        expect(flight.begun).toEqual(Array.from({ length: asked }, (_, n) => `${n}`));
      },
    ),
    { numRuns: 100 },
  );
});

/** Requests that are answered when the test says so. */
function openFlight(slots: RequestSlots) {
  const begun: string[] = [];
  const underWay = new Map<string, PromiseWithResolvers<void>>();
  const flight = {
    begun,
    mostInFlight: 0,
    inFlight: () => [...underWay.keys()],
    ask: (name: string) =>
      slots.use(async () => {
        const answer = Promise.withResolvers<void>();
        begun.push(name);
        underWay.set(name, answer);
        flight.mostInFlight = Math.max(flight.mostInFlight, underWay.size);
        await answer.promise;
      }),
    end(name: string, throws = false) {
      const answer = underWay.get(name);
      underWay.delete(name);
      if (throws) answer?.reject(new Error("reset"));
      else answer?.resolve();
    },
  };
  return flight;
}

/** Sends that ask for admission, by number; each is over when the test says so, the first that was admitted before the others. */
function openAdmission(slots: RequestSlots) {
  const admitted: number[] = [];
  const refused: number[] = [];
  const underWay: PromiseWithResolvers<"sent">[] = [];
  let asked = 0;
  const queue = {
    /** Of all that ask from now on. */
    lease: waitingLease(),
    admitted,
    refused,
    ask(count: number) {
      for (let n = 0; n < count; n += 1) {
        const number = asked;
        asked += 1;
        const work = () => {
          admitted.push(number);
          const over = Promise.withResolvers<"sent">();
          underWay.push(over);
          return over.promise;
        };
        void slots.admit(queue.lease, work).then((result) => {
          if (result === null) refused.push(number);
        });
      }
    },
    async leave(count = 1) {
      for (const over of underWay.splice(0, count)) over.resolve("sent");
      await settled();
    },
  };
  return queue;
}

/** One that may wait, until its process drains. */
function waitingLease() {
  const lease = { isDraining: false, mayWait: () => !lease.isDraining };
  return lease;
}

/** So many requests in the present tenth of a second. */
async function send(slots: RequestSlots, count: number): Promise<void> {
  for (let n = 0; n < count; n += 1) await slots.use(async () => {});
}

/** All that can go on has gone on: promises only, no I/O. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}
