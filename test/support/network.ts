/**
 * A network between a daemon process and its database that can go silent: packets vanish, and nobody is told.
 *
 * Where the machine allows it (Linux, root) it is made of network namespaces, so that the kernels of both sides see what they would
 * see in the field: retransmissions, keepalives, TCP_USER_TIMEOUT.
 *
 *     this machine ──── router ──── daemon      PostgreSQL; silent while the router forwards nothing
 *          └────────────────────────┘           the customer API and the metrics, always there
 *
 * A namespace lives as long as the process that holds it, which ends with us: nothing is left behind, however the test ends. Elsewhere
 * a TCP proxy stands in. It holds the connections open itself, so what the server's kernel does about a lost peer is not seen.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { readlinkSync } from "node:fs";
import { afterAll } from "vitest";
import { eventually } from "./eventually.ts";
import type { OwnPostgres } from "./own-postgres.ts";
import { startTcpProxy } from "./tcp-proxy.ts";

export interface Network {
  readonly kind: "network namespaces" | "a TCP proxy";
  /** Where on this machine the customer API has to listen. */
  readonly apiHost: string;
  /** Addresses PostgreSQL has to listen on. */
  readonly databaseHosts: string;
  /** What the daemon's process needs: settings, and the command that runs it in its place. */
  daemon(postgres: OwnPostgres): Promise<{
    readonly environment: Readonly<Record<string, string>>;
    readonly within: readonly string[];
  }>;
  /** The address that the daemon's sessions come from; null where they cannot be told apart by it. */
  readonly daemonAddress: string | null;
  blackhole(on: boolean): void;
}

export async function createNetwork(): Promise<Network> {
  return canMakeNamespaces() ? await createNamespaces() : createProxied();
}

function canMakeNamespaces(): boolean {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false;
  return ["unshare -n true", "nsenter --version", "ip link show lo"].every(
    (command) => spawnSync("sh", ["-c", command]).status === 0,
  );
}

async function createNamespaces(): Promise<Network> {
  const router = await holdNamespace();
  const daemon = await holdNamespace();
  // 198.18.0.0/15 is set aside for tests of networks; a random part of it, as other runs may be under way on this machine.
  const part = `198.18.${randomInt(256)}.`;
  made += 1;
  const base = (made % 16) * 16;
  const address = (n: number) => `${part}${base + n}`;
  const names = (end: string) => `as${process.pid.toString(36)}${made.toString(36)}${end}`;
  const inRouter = ["nsenter", "-t", String(router.pid), "-n"];
  const inDaemon = ["nsenter", "-t", String(daemon.pid), "-n"];

  const connect = (from: Side, to: Side) => {
    run("ip", "link", "add", from.name, "type", "veth", "peer", "name", to.name);
    for (const { name, pid, within, ip } of [from, to]) {
      if (pid !== null) run("ip", "link", "set", name, "netns", String(pid));
      run(...within, "ip", "addr", "add", `${ip}/30`, "dev", name);
      run(...within, "ip", "link", "set", name, "up");
    }
  };
  const here = { pid: null, within: [] };
  const there = { pid: daemon.pid, within: inDaemon };
  const between = { pid: router.pid, within: inRouter };
  connect(
    { ...here, name: names("h"), ip: address(1) },
    { ...between, name: names("r"), ip: address(2) },
  );
  connect(
    { ...between, name: names("s"), ip: address(5) },
    { ...there, name: names("d"), ip: address(6) },
  );
  connect(
    { ...here, name: names("a"), ip: address(9) },
    { ...there, name: names("b"), ip: address(10) },
  );
  run(...inDaemon, "ip", "link", "set", "lo", "up");
  run(...inDaemon, "ip", "route", "add", `${address(0)}/30`, "via", address(5));
  run("ip", "route", "add", `${address(4)}/30`, "via", address(2));

  const forward = (on: boolean) =>
    run(...inRouter, "sh", "-c", `echo ${on ? 1 : 0} > /proc/sys/net/ipv4/ip_forward`);
  forward(true);

  return {
    kind: "network namespaces",
    apiHost: address(9),
    databaseHosts: `127.0.0.1,${address(1)}`,
    daemonAddress: address(6),
    async daemon({ database }) {
      const url = new URL(database.url);
      url.hostname = address(1);
      return {
        environment: {
          DATABASE_URL: url.href,
          HTTP_HOST: address(10),
          CUSTOMER_API_INSECURE: "true",
        },
        within: inDaemon,
      };
    },
    // A router that may not forward drops what comes in, and sends nobody a word about it.
    blackhole: (on) => forward(!on),
  };
}

interface Side {
  readonly name: string;
  readonly ip: string;
  /** Whose namespace; null for ours. */
  readonly pid: number | null;
  readonly within: readonly string[];
}

async function createProxied(): Promise<Network> {
  let proxy: Awaited<ReturnType<typeof startTcpProxy>> | null = null;
  return {
    kind: "a TCP proxy",
    apiHost: "127.0.0.1",
    databaseHosts: "127.0.0.1",
    daemonAddress: null,
    async daemon({ database, port }) {
      proxy = await startTcpProxy(port);
      const url = new URL(database.url);
      url.port = String(proxy.port);
      return { environment: { DATABASE_URL: url.href }, within: [] };
    },
    blackhole: (on) => proxy?.blackhole(on),
  };
}

let made = 0;
const holders = new Set<ChildProcess>();

afterAll(async () => {
  for (const holder of holders) {
    const ended = once(holder, "exit");
    holder.stdin?.end();
    await ended;
  }
});

/** A process in a network namespace of its own, until the pipe from us closes. */
async function holdNamespace(): Promise<{ readonly pid: number }> {
  const holder = spawn("sh", ["-c", "exec unshare -n sh -c 'read nothing'"], {
    stdio: ["pipe", "ignore", "ignore"],
  });
  const { pid } = holder;
  if (pid === undefined) throw new Error("unshare could not be started");
  holders.add(holder);
  await eventually(() => {
    if (readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync("/proc/self/ns/net"))
      throw new Error("the namespace is not there yet");
  });
  return { pid };
}

function run(...[command = "", ...args]: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr}`);
}
