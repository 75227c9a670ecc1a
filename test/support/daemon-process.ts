/** The daemon as a process of its own, on a product's database and API, with the numbers the operating system knows about it. */
import { readFileSync } from "node:fs";
import { eventually } from "./eventually.ts";
import { type ProcessOptions, type RunningProcess, startProcess } from "./process.ts";
import { apiEnvironment, type Product, QUICK, readMetric } from "./product.ts";

export interface DaemonProcess extends RunningProcess {
  /** Where it serves its metrics. */
  readonly url: string;
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>;
  /** Resident memory just now, in MiB. */
  residentMiB(): number;
  /** Processor time so far, in milliseconds. */
  cpuMs(): number;
}

/** Resolves when it is ready. */
export async function startDaemonProcess(
  product: Pick<Product, "database" | "sandbox">,
  environment: Readonly<Record<string, string>> = {},
  options: Pick<ProcessOptions, "within"> = {},
): Promise<DaemonProcess> {
  const running = startProcess({
    ...options,
    args: ["start"],
    env: {
      ...QUICK,
      ...apiEnvironment(product.sandbox),
      DATABASE_URL: product.database.url,
      ...environment,
    },
  });
  // A start takes half a second; on a machine that runs other tests it has taken twenty.
  const line = await running.waitForLine(/"msg":"started"/, 60_000);
  const started = JSON.parse(line) as { url: string };
  const metric: DaemonProcess["metric"] = (name, labels) => readMetric(started.url, name, labels);
  await eventually(() => metric("build_info"));

  return Object.assign(running, {
    url: started.url,
    metric,
    residentMiB: () => {
      const status = readFileSync(`/proc/${running.pid}/status`, "utf8");
      return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
    },
    cpuMs: () => {
      // After the name in brackets: state, then eleven fields on the user's and the system's ticks, of which there are 100 a second.
      const fields = readFileSync(`/proc/${running.pid}/stat`, "utf8").split(") ")[1]?.split(" ");
      return (Number(fields?.[11]) + Number(fields?.[12])) * 10;
    },
  });
}
