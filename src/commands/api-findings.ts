/** What `doctor` says about a trial of the credentials: one sentence on what is wrong, one on what to do. Pure. */
import type { Finding } from "../checks/names.ts";
import type { ApiConnection } from "../customer-api/customer-api.ts";
import type { Trial } from "../customer-api/trial.ts";

const WAIT_FOR_THE_API =
  "Check the way to the API and that it is up; a daemon may start meanwhile, and sends when it answers.";

export function toApiFindings(
  trial: Trial,
  { auth, baseUrl }: Pick<ApiConnection, "auth" | "baseUrl">,
): Finding[] {
  switch (trial.kind) {
    case "taken":
      return [];

    case "refused":
      return [
        {
          problem: `The API refuses ${WHAT_IS_REFUSED[auth.kind]}: it answered ${trial.status} to GET ${trial.target}, a request that changes nothing.`,
          remedy: toRemedy(trial.status, auth.kind),
        },
      ];

    case "failing":
      return [
        {
          problem: `The API answered ${trial.status} to GET ${trial.target}, so it is not known whether it takes our credentials.`,
          remedy:
            "Look at the API's own log, and ask again when it works; a daemon may start meanwhile, and sends when it answers.",
        },
      ];

    case "unreachable":
      return [
        {
          problem: `The API at ${new URL(baseUrl).origin} cannot be reached: ${trial.reason}.`,
          remedy: WAIT_FOR_THE_API,
        },
      ];

    case "no_token": {
      const { errorClass, message } = trial.failure;
      const tokenUrl = auth.kind === "client_credentials" ? auth.tokenUrl : baseUrl;
      return [
        {
          problem: `The token endpoint ${new URL(tokenUrl).origin} gave no token: ${message}.`,
          remedy:
            errorClass === "unauthorized" || errorClass === "rejected"
              ? "Check client id, secret and scope, CUSTOMER_API_TOKEN_URL and CUSTOMER_API_TOKEN_STYLE."
              : WAIT_FOR_THE_API,
        },
      ];
    }

    default:
      return trial satisfies never;
  }
}

const WHAT_IS_REFUSED: Readonly<Record<ApiConnection["auth"]["kind"], string>> = {
  none: "requests without credentials",
  static: "CUSTOMER_API_TOKEN",
  client_credentials: "the token that its token endpoint gave",
};

const PROXY_STATUS = 407;

function toRemedy(status: number, kind: ApiConnection["auth"]["kind"]): string {
  if (status === PROXY_STATUS) {
    return "A proxy on the way asks for credentials: let the requests pass, or choose a way without it.";
  }
  switch (kind) {
    case "none":
      return "Set CUSTOMER_API_TOKEN, or CUSTOMER_API_CLIENT_ID and CUSTOMER_API_CLIENT_SECRET, or the header that the API expects in CUSTOMER_API_HEADERS.";
    case "static":
      return "Correct CUSTOMER_API_TOKEN, and what CUSTOMER_API_HEADERS or additional_headers add; ask the API's operator whether this client may send customers.";
    case "client_credentials":
      return "Check CUSTOMER_API_SCOPE and that CUSTOMER_API_TOKEN_URL belongs to this API; ask its operator whether this client may send customers.";
    default:
      return kind satisfies never;
  }
}
