/** The scrape: its names and label values are a promise to dashboards, and it answers whatever the database does. */
import { expect, test, vi } from "vitest";
import { CHECK_EFFECTS } from "../../src/checks/names.ts";
import { createMetrics } from "../../src/ops/metrics.ts";
import type { QueueStatus } from "../../src/ops/queue-gauges.ts";

const queueStatus: QueueStatus = {
  byState: { waiting: 1, due: 2, running: 3, retrying: 4, parked: 5, blocked: 6 },
  oldestPendingSeconds: 12.5,
};

const promised = [
  "updated_total counter",
  "failed_total counter",
  "runs_total counter",
  "run_duration_seconds histogram",
  "lag_seconds histogram",
  "changes_total counter",
  "validation_warnings_total counter",
  "pending_accounts gauge",
  "oldest_pending_seconds gauge",
  "api_requests_total counter",
  "api_request_duration_seconds histogram",
  "listener_up gauge",
  "listener_roundtrip_seconds gauge",
  "listener_reconnects_total counter",
  "circuit_state gauge",
  "unknown_outcomes_total counter",
  "id_conflicts_total counter",
  "check_ok gauge",
  "event_loop_utilization gauge",
  "build_info gauge",
];

test("every promised metric is there under its name and type", async () => {
  const metrics = createMetrics({ version: "1.2.3", queueStatus: async () => queueStatus });

  const { body, contentType } = await metrics.scrape();

  for (const metric of promised) expect(body).toContain(`# TYPE account_sync_${metric}\n`);
  expect(contentType).toBe("text/plain; version=0.0.4; charset=utf-8");
});

test("all label values stand at 0 before anything happened", async () => {
  const metrics = createMetrics({
    version: "1.2.3",
    queueStatus: () => Promise.reject(new Error()),
  });

  const { body } = await metrics.scrape();

  const series = body.split("\n").filter((line) => line.startsWith("account_sync_"));
  const touched = series.filter((line) => !line.endsWith(" 0"));
  expect(count(series, "updated_total{")).toBe(3);
  expect(count(series, "failed_total{")).toBe(3 * 11);
  expect(count(series, "runs_total{")).toBe(7 * 3);
  expect(count(series, "api_requests_total{")).toBe(5 * 8);
  expect(count(series, "api_request_duration_seconds_count{")).toBe(5);
  expect(count(series, "validation_warnings_total{")).toBe(8);
  expect(count(series, "pending_accounts{")).toBe(6);
  expect(count(series, "circuit_state{")).toBe(3);
  expect(series).toContain('account_sync_failed_total{entity="pic",reason="unknown_outcome"} 0');
  expect(count(series, "check_ok{")).toBe(Object.keys(CHECK_EFFECTS).length);
  expect(series).toContain('account_sync_check_ok{check="triggers",severity="failure"} 1');
  expect(series).toContain('account_sync_check_ok{check="clock",severity="warning"} 1');
  expect(touched.filter((line) => !/queue_status_age|check_ok|event_loop/.test(line))).toEqual([
    'account_sync_circuit_state{state="closed"} 1',
    'account_sync_build_info{version="1.2.3"} 1',
  ]);
});

test("the process and Node.js are measured too", async () => {
  const metrics = createMetrics({ version: "1.2.3", queueStatus: async () => queueStatus });

  const { body } = await metrics.scrape();

  expect(body).toContain("process_cpu_seconds_total ");
  expect(body).toContain("nodejs_eventloop_lag_seconds ");
  expect(body).not.toContain("nodejs_eventloop_lag_p99_seconds ");
});

test("the event loop's utilization is that since the last scrape", async () => {
  const metrics = createMetrics({ version: "1.2.3", queueStatus: async () => queueStatus });
  const utilization = async () => {
    const { body } = await metrics.scrape();
    return Number(/^account_sync_event_loop_utilization (\S+)$/m.exec(body)?.[1]);
  };
  await utilization();

  const until = performance.now() + 50;
  while (performance.now() < until);
  const busy = await utilization();
  await new Promise((resolve) => setTimeout(resolve, 50));
  const idle = await utilization();

  expect(busy).toBeGreaterThan(0.9);
  expect(idle).toBeLessThan(0.5);
});

test("two sets of metrics in one process do not meet", async () => {
  const one = createMetrics({ version: "1", queueStatus: async () => queueStatus });
  const other = createMetrics({ version: "2", queueStatus: async () => queueStatus });

  one.changes.inc(5);

  expect((await other.scrape()).body).toContain("account_sync_changes_total 0\n");
});

test("the queue's numbers are asked for at scrape time", async () => {
  const metrics = createMetrics({ version: "1.2.3", queueStatus: async () => queueStatus });

  const { body } = await metrics.scrape();

  expect(body).toContain('account_sync_pending_accounts{state="waiting"} 1\n');
  expect(body).toContain('account_sync_pending_accounts{state="blocked"} 6\n');
  expect(body).toContain("account_sync_oldest_pending_seconds 12.5\n");
  expect(toValue(body, "queue_status_age_seconds")).toBeLessThan(1);
});

test("scrapes within a second share one question", async () => {
  const clock = createClock();
  const ask = vi.fn(async () => queueStatus);
  const metrics = createMetrics({ version: "1.2.3", queueStatus: ask, now: clock.now });

  await Promise.all([metrics.scrape(), metrics.scrape()]);
  clock.advance(999);
  await metrics.scrape();
  expect(ask).toHaveBeenCalledTimes(1);

  clock.advance(1);
  await metrics.scrape();
  expect(ask).toHaveBeenCalledTimes(2);
});

test("scrapes that come together are one piece of work", async () => {
  const metrics = createMetrics({ version: "1.2.3", queueStatus: async () => queueStatus });

  const [first, second] = await Promise.all([metrics.scrape(), metrics.scrape()]);
  metrics.changes.inc();
  const later = await metrics.scrape();

  expect(second).toBe(first);
  expect(later.body).toContain("account_sync_changes_total 1\n");
});

test("when the database fails the last known numbers stay and their age shows it", async () => {
  const clock = createClock();
  const ask = vi.fn<() => Promise<QueueStatus>>().mockResolvedValueOnce(queueStatus);
  ask.mockRejectedValue(new Error("connection terminated"));
  const metrics = createMetrics({ version: "1.2.3", queueStatus: ask, now: clock.now });

  await metrics.scrape();
  clock.advance(60_000);
  const { body } = await metrics.scrape();

  expect(ask).toHaveBeenCalledTimes(2);
  expect(body).toContain('account_sync_pending_accounts{state="parked"} 5\n');
  expect(body).toContain("account_sync_queue_status_age_seconds 60\n");
});

test("before the first answer of the database the numbers are as old as can be", async () => {
  const ask = vi.fn<() => Promise<QueueStatus>>().mockRejectedValue(new Error("not connected yet"));
  const metrics = createMetrics({ version: "1.2.3", queueStatus: ask });

  const { body } = await metrics.scrape();

  expect(body).toContain("account_sync_queue_status_age_seconds +Inf\n");
});

test("a hanging database costs a scrape two seconds and piles up no questions", async () => {
  vi.useFakeTimers();
  const ask = vi.fn(() => new Promise<never>(() => undefined));
  const metrics = createMetrics({ version: "1.2.3", queueStatus: ask });

  for (let scrape = 0; scrape < 3; scrape += 1) {
    const answer = metrics.scrape();
    await vi.advanceTimersByTimeAsync(2_000);
    expect((await answer).body).toContain("account_sync_oldest_pending_seconds 0\n");
  }
  expect(ask).toHaveBeenCalledTimes(1);

  await vi.advanceTimersByTimeAsync(30_000);
  const later = metrics.scrape();
  await vi.advanceTimersByTimeAsync(2_000);
  await later;
  expect(ask).toHaveBeenCalledTimes(2);

  vi.useRealTimers();
});

test("numbers that arrive as text do not fail the scrape", async () => {
  const asText = {
    byState: { ...queueStatus.byState, parked: "9007" },
    oldestPendingSeconds: "3",
  } as unknown as QueueStatus;
  const metrics = createMetrics({ version: "1.2.3", queueStatus: async () => asText });

  const { body } = await metrics.scrape();

  expect(body).toContain('account_sync_pending_accounts{state="parked"} 9007\n');
  expect(body).toContain("account_sync_oldest_pending_seconds 3\n");
});

function toValue(body: string, name: string): number {
  return Number(body.match(new RegExp(`^account_sync_${name} (.*)$`, "m"))?.[1]);
}

function count(series: readonly string[], start: string): number {
  return series.filter((line) => line.startsWith(`account_sync_${start}`)).length;
}

function createClock() {
  let time = 0;
  return {
    now: () => time,
    advance: (ms: number) => {
      time += ms;
    },
  };
}
