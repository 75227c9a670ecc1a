/** The failure tables, row by row: what an HTTP status, a network error or a Retry-After means. */
import { describe, expect, test } from "vitest";

import {
  canPromiseNotApplied,
  errorVerdict,
  mentionsToken,
  networkErrorCode,
  retryAfterMs,
  statusVerdict,
  usesUpAttempt,
} from "../../src/customer-api/failure.ts";

describe("an HTTP status", () => {
  test.each([
    [301, "rejected", "not_applied"],
    [302, "rejected", "not_applied"],
    [303, "rejected", "unknown"],
    [307, "rejected", "not_applied"],
    [308, "rejected", "not_applied"],
    [400, "rejected", "not_applied"],
    [401, "unauthorized", "not_applied"],
    [403, "rejected", "not_applied"],
    [404, "rejected", "not_applied"],
    [405, "rejected", "not_applied"],
    [407, "unauthorized", "not_applied"],
    [408, "timeout", "unknown"],
    [409, "rejected", "not_applied"],
    [410, "rejected", "not_applied"],
    [413, "rejected", "not_applied"],
    [419, "unauthorized", "not_applied"],
    [422, "rejected", "not_applied"],
    [425, "server", "unknown"],
    [429, "throttled", "not_applied"],
    [451, "rejected", "not_applied"],
    [498, "unauthorized", "not_applied"],
    [499, "rejected", "not_applied"],
    [500, "server", "unknown"],
    [501, "server", "unknown"],
    [502, "server", "unknown"],
    [503, "server", "unknown"],
    [504, "server", "unknown"],
    [507, "server", "unknown"],
    [599, "server", "unknown"],
    [204, "network", "unknown"],
    [799, "network", "unknown"],
  ])("%i is %s, %s", (status, errorClass, delivery) => {
    expect(statusVerdict(status)).toMatchObject({ errorClass, delivery });
  });

  test.each([
    [503, [503], "not_applied"],
    [503, [429, 503], "not_applied"],
    [408, [408], "not_applied"],
    [504, [503], "unknown"],
    [500, [429, 502], "unknown"],
    // Without being listed, too.
    [429, [503], "not_applied"],
    [303, [503], "unknown"],
  ])(
    "%i of an API that promises to have done nothing by %j is %s",
    (status, promised, delivery) => {
      expect(statusVerdict(status, promised).delivery).toBe(delivery);
      expect(statusVerdict(status, promised).errorClass).toBe(statusVerdict(status).errorClass);
    },
  );

  test("of those that may pass, every one but 429 is an unknown outcome unless it is listed", () => {
    const statuses = Array.from({ length: 500 }, (_, index) => 100 + index);

    const known = statuses.filter((status) => {
      const { errorClass, delivery } = statusVerdict(status);
      return (
        ["server", "network", "timeout", "throttled"].includes(errorClass) && delivery !== "unknown"
      );
    });

    expect(known).toEqual([429]);
    expect(statuses.filter(canPromiseNotApplied)).toEqual(
      statuses.filter((status) => [408, 425, 429].includes(status) || status >= 500),
    );
  });
});

describe("a network error", () => {
  test.each([
    ["ECONNREFUSED", "network", "not_sent"],
    ["ENOTFOUND", "network", "not_sent"],
    ["EAI_AGAIN", "network", "not_sent"],
    ["EAI_FAIL", "network", "not_sent"],
    ["UND_ERR_CONNECT_TIMEOUT", "timeout", "not_sent"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "network", "not_sent"],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", "network", "not_sent"],
    ["CERT_HAS_EXPIRED", "network", "not_sent"],
    ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "network", "not_sent"],
    ["UND_ERR_INVALID_ARG", "network", "not_sent"],
    ["UND_ERR_SOCKET", "network", "unknown"],
    ["ECONNRESET", "network", "unknown"],
    ["EPIPE", "network", "unknown"],
    ["EHOSTUNREACH", "network", "unknown"],
    ["UND_ERR_DESTROYED", "network", "unknown"],
    ["UND_ERR_RES_EXCEEDED_MAX_SIZE", "network", "unknown"],
    ["UND_ERR_HEADERS_OVERFLOW", "network", "unknown"],
    ["HPE_INVALID_CONSTANT", "network", "unknown"],
    ["GIVEN_UP", "network", "unknown"],
    ["TIMED_OUT", "timeout", "unknown"],
    ["ETIMEDOUT", "timeout", "unknown"],
    ["UND_ERR_BODY_TIMEOUT", "timeout", "unknown"],
    ["SOMETHING_NEW", "network", "unknown"],
  ])("%s is %s, %s once the request was written", (code, errorClass, delivery) => {
    expect(errorVerdict(code, true)).toMatchObject({ errorClass, delivery });
  });

  test.each(["UND_ERR_SOCKET", "ECONNRESET", "TIMED_OUT", "GIVEN_UP", "SOMETHING_NEW"])(
    "%s before the request was written has sent nothing",
    (code) => {
      expect(errorVerdict(code, false).delivery).toBe("not_sent");
    },
  );

  test("the code is found in causes and in the first of several addresses", () => {
    const refused = Object.assign(new Error("no"), { code: "ECONNREFUSED" });

    expect(networkErrorCode(refused)).toBe("ECONNREFUSED");
    expect(networkErrorCode(new Error("fetch failed", { cause: refused }))).toBe("ECONNREFUSED");
    expect(networkErrorCode(new AggregateError([refused, new Error("no")]))).toBe("ECONNREFUSED");
    expect(networkErrorCode(new Error("no code"))).toBe("UNKNOWN");
    expect(networkErrorCode("a string")).toBe("UNKNOWN");
  });
});

describe("attempts", () => {
  test.each([
    ["unauthorized", false],
    ["throttled", false],
    ["rejected", true],
    ["server", true],
    ["network", true],
    ["timeout", true],
  ] as const)("%s uses one up: %s", (errorClass, expected) => {
    expect(usesUpAttempt(errorClass)).toBe(expected);
  });
});

describe("Retry-After", () => {
  const now = Date.parse("Wed, 21 Oct 2026 07:28:00 GMT");

  test.each([
    ["2", 2_000],
    [" 0 ", 0],
    ["1.5", 1_500],
    ["900", 900_000],
    ["86400", 900_000],
    ["Wed, 21 Oct 2026 07:28:30 GMT", 30_000],
    ["Wed, 21 Oct 2026 07:27:30 GMT", 0],
    ["Thu, 22 Oct 2026 07:28:30 GMT", 900_000],
    ["Wednesday, 21-Oct-26 07:28:10 GMT", 10_000],
    ["-5", null],
    ["soon", null],
    ["2 minutes", null],
    ["Wed, nonsense", null],
    ["", null],
    [null, null],
  ])("%j is %j ms", (header, expected) => {
    expect(retryAfterMs(header, now)).toBe(expected);
  });
});

describe("a 403", () => {
  test.each([
    ["The access token expired", true],
    ["invalid_token", true],
    ["Unauthorized", true],
    ["Session expired, log in again", true],
    ["Authentication required", true],
    ["This customer belongs to another tenant", false],
    ["tier is expired", false],
    ["", false],
  ])("with the words %j mentions a token: %s", (message, expected) => {
    expect(mentionsToken([message])).toBe(expected);
  });
});
