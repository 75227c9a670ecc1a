/** `sandbox`: the stand-in customer API as a process of its own, until it is told to stop. */
import { type Sandbox, startSandbox } from "../local/sandbox.ts";
import { OperatorError } from "../operator-error.ts";
import { onShutdownSignals } from "../ops/signals.ts";
import { printJson, printLine } from "./output.ts";

/** As commander reads them. */
export interface SandboxArguments {
  readonly host: string;
  readonly port: number;
  readonly data?: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly echo?: boolean;
  readonly ignoreKeys?: boolean;
}

export async function sandbox(
  options: SandboxArguments & {
    readonly json: boolean;
    readonly leave: (exitCode: number) => void;
  },
): Promise<number> {
  const asked = Promise.withResolvers<void>();
  const signals = onShutdownSignals({
    first: () => asked.resolve(),
    second: () => options.leave(1),
  });

  const running = await startSandbox({
    host: options.host,
    port: options.port,
    clientId: options.clientId,
    clientSecret: options.clientSecret,
    echo: options.echo === true,
    honourKeys: options.ignoreKeys !== true,
    ...(options.data === undefined ? {} : { dataFile: options.data }),
    ...(options.json ? {} : { log: printLine }),
  }).catch((error: NodeJS.ErrnoException) => {
    throw toOperatorError(error, options);
  });

  if (options.json) {
    printJson({
      url: running.url,
      client_id: running.clientId,
      client_secret: running.clientSecret,
      static_token: running.staticToken,
    });
  } else {
    for (const line of introduction(running)) printLine(line);
  }

  await asked.promise;
  await running.close();
  signals.dispose();
  return 0;
}

function introduction(running: Sandbox): string[] {
  return [
    `Sandbox customer API on ${running.url}. To send to it from a database of your own (DATABASE_URL):`,
    "",
    `  export CUSTOMER_API_URL=${running.url}`,
    `  export CUSTOMER_API_CLIENT_ID=${running.clientId}`,
    `  export CUSTOMER_API_CLIENT_SECRET=${running.clientSecret}`,
    "",
    "To look at it, and to make it fail:",
    "",
    `  curl -s ${running.url}/sandbox/customers`,
    `  curl -s ${running.url}/sandbox/requests`,
    `  curl -s ${running.url}/sandbox/faults -d '{"next":[{"status":503,"retryAfter":1}]}'`,
    `  curl -s -H 'authorization: Bearer ${running.staticToken}' '${running.url}/api/customer?code=ACC-0001'`,
    "",
  ];
}

function toOperatorError(
  error: NodeJS.ErrnoException,
  { host, port, data }: SandboxArguments,
): unknown {
  switch (error.code) {
    case "EADDRINUSE":
      return new OperatorError(`Port ${port} on ${host} is in use by another process.`, {
        hint: "Choose another with --port, or 0 for any free one.",
        cause: error,
      });
    case "EACCES":
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return new OperatorError(`The sandbox cannot listen on ${host}:${port} (${error.code}).`, {
        hint: "Use an address of this machine and a port above 1023.",
        cause: error,
      });
    default:
      if (data === undefined) return error;
      return new OperatorError(
        `The sandbox cannot use the file ${data}: ${error.code ?? "it is not one of the sandbox's"}.`,
        {
          hint: "Name a file it can write to, or remove this one to start afresh.",
          cause: error,
        },
      );
  }
}
