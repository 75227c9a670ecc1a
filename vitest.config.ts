import { defineConfig } from "vitest/config";

const soakMinutes = process.env["SOAK_MINUTES"];

/**
 * unit: pure code, milliseconds, no I/O. db: a real PostgreSQL, one cloned database per file.
 * e2e: the real process or the wired daemon against a real HTTP server.
 * faults: on the same parts, what is killed, cut off, down, started twice or flooded, and the matrices of servers, certificates and
 * installations, which need minutes and the npm registry: for `npm run check`, not for every `npm test`.
 * simulation: thousands of histories of queue and sync on a played clock (test/simulation/world.ts).
 * soak: only by `npm run test:soak`, for as long as it is told.
 */
export default defineConfig({
  test: {
    globals: false,
    // Two files at a time: the smallest machine we support has two cores, and starved timers look like bugs.
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts", "test/*.test.ts"],
          // Pure code leaves nothing behind, so one process runs file after file: half the processor time of a new one for each.
          isolate: false,
          // Ends what hangs. A property of a thousand examples takes a second or two here, and several times that beside other work.
          testTimeout: 30_000,
        },
      },
      {
        extends: true,
        test: {
          name: "db",
          include: ["test/db/**/*.test.ts"],
          globalSetup: ["test/support/global-postgres.ts"],
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          globalSetup: ["test/support/global-postgres.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: "faults",
          include: ["test/faults/**/*.test.ts"],
          globalSetup: ["test/support/global-postgres.ts"],
          testTimeout: 120_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: "simulation",
          include: ["test/simulation/**/*.test.ts"],
          globalSetup: ["test/support/global-postgres.ts"],
          // Ends what hangs: two minutes of histories may take a slow machine four times as long.
          testTimeout: 900_000,
          hookTimeout: 60_000,
        },
      },
      ...(soakMinutes === undefined
        ? []
        : [
            {
              extends: true as const,
              test: {
                name: "soak",
                include: ["test/soak/**/*.soak.ts"],
                globalSetup: ["test/support/global-postgres.ts"],
                // The files watch the time themselves; this ends what hangs.
                testTimeout: Number(soakMinutes) * 60_000 + 120_000,
                hookTimeout: 60_000,
              },
            },
          ]),
    ],
  },
});
