/** The routes of the customer API that the sandbox stands in for: tokens, commands, lookup. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { SandboxAnswer, SandboxCustomers } from "./sandbox-customers.ts";
import { bodyOf, type SandboxOperation, type SandboxRequest } from "./sandbox-requests.ts";
import type { SandboxState } from "./sandbox-state.ts";
import type { SandboxTokens } from "./sandbox-tokens.ts";

export interface SandboxApi {
  readonly state: SandboxState;
  readonly tokens: SandboxTokens;
  /** False: like an API that does not know Idempotency-Key. */
  readonly honoursKeys: boolean;
  /** Records the request and answers it, with `work` or as a fault says. */
  readonly respond: (
    operation: SandboxOperation,
    code: string | null,
    request: FastifyRequest,
    reply: FastifyReply,
    work: (entry: SandboxRequest) => SandboxAnswer,
  ) => Promise<FastifyReply>;
}

const UNAUTHORIZED = { error: "the access token is invalid or expired" };

const COMMAND_METHODS = {
  "/api/customer/command": "POST",
  "/api/customer/command/:id": "PUT, PATCH, POST, DELETE",
  "/api/customer/:id": "PUT, PATCH, POST, DELETE",
};

export function addApiRoutes(server: FastifyInstance, api: SandboxApi): void {
  const { tokens, state, respond } = api;

  server.post("/oauth/token", (request, reply) =>
    respond("token", null, request, reply, (entry) =>
      tokens.give(request.headers.authorization, entry),
    ),
  );

  const serve = (
    operation: Exclude<SandboxOperation, "token">,
    request: FastifyRequest,
    reply: FastifyReply,
  ) => {
    const code = codeOf(operation, request, state.customers);
    return respond(operation, code, request, reply, (entry) =>
      tokens.isAccepted(request.headers.authorization)
        ? perform(entry, request, api)
        : { status: 401, body: UNAUTHORIZED },
    );
  };
  server.post("/api/customer/command", (request, reply) => serve("create", request, reply));
  for (const url of ["/api/customer/command/:id", "/api/customer/:id"]) {
    server.route({
      method: ["PUT", "PATCH", "POST"],
      url,
      handler: (request, reply) => serve("update", request, reply),
    });
    server.delete(url, (request, reply) => serve("delete", request, reply));
  }
  server.get("/api/customer", (request, reply) => serve("lookup", request, reply));

  // Authorization is checked first, as strict APIs do. Not recorded: it is not a command.
  for (const [url, allow] of Object.entries(COMMAND_METHODS)) {
    server.get(url, (request, reply) =>
      tokens.isAccepted(request.headers.authorization)
        ? reply
            .code(405)
            .header("allow", allow)
            .send({ error: `allowed here: ${allow}` })
        : reply.code(401).send(UNAUTHORIZED),
    );
  }
}

function codeOf(
  operation: SandboxOperation,
  request: FastifyRequest,
  customers: SandboxCustomers,
): string | null {
  if (operation === "lookup") {
    return (request.query as Record<string, string | undefined>)["code"] ?? null;
  }

  const { id } = request.params as { id?: string };
  const known = id === undefined ? undefined : customers.get(id);
  const sent = bodyOf(request) as { branch?: { code?: unknown } } | null;
  const code = sent?.branch?.code;
  return known?.code ?? (typeof code === "string" && code !== "" ? code : (id ?? null));
}

function perform(
  entry: SandboxRequest,
  request: FastifyRequest,
  { state, honoursKeys }: SandboxApi,
): SandboxAnswer {
  const { customers, keys } = state;
  if (entry.operation === "lookup") return customers.lookUp(entry.code);

  const key = honoursKeys ? entry.key : null;
  const recalled = key === null ? null : keys.recall(key, entry);
  if (recalled !== null) return recalled;

  const answer = apply(entry, request, customers);
  if (answer.status < 300) {
    entry.applied = true;
    if (key !== null) keys.remember(key, entry, answer);
  }
  return answer;
}

function apply(
  { operation, body }: SandboxRequest,
  request: FastifyRequest,
  customers: SandboxCustomers,
): SandboxAnswer {
  const { id = "" } = request.params as { id?: string };
  if (operation === "create") return customers.create(body);
  return operation === "delete" ? customers.remove(id) : customers.update(id, body);
}
