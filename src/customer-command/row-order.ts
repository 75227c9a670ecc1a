/**
 * The order of rows: of tiers and contact persons in a command, and which address and bank account come first. Each order is total, so
 * the same rows always give the same command.
 */
import type { Address, Tier } from "../account/account.ts";

/** Lowest first; null (unknown) last and NaN before it, as PostgreSQL sorts them. */
export function byMinValue(a: Tier, b: Tier): number {
  return compareMinValues(a.minValue, b.minValue) || compareIds(a.id, b.id);
}

function compareMinValues(a: number | null, b: number | null): number {
  const rank = (value: number | null) => (value === null ? 2 : Number.isNaN(value) ? 1 : 0);
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  return a === null || b === null || a === b || Number.isNaN(a) ? 0 : a < b ? -1 : 1;
}

export function byPrimaryThenAge(a: Address, b: Address): number {
  return Number(b.isPrimary) - Number(a.isPrimary) || byAge(a, b);
}

interface Aged {
  readonly id: string;
  readonly createdAt: string | null;
}

/** Oldest first; rows without a date come last; the lowest id first among equals. */
export function byAge(a: Aged, b: Aged): number {
  if (a.createdAt === b.createdAt) return compareIds(a.id, b.id);
  if (a.createdAt === null) return 1;
  if (b.createdAt === null) return -1;
  return compareText(a.createdAt, b.createdAt);
}

/** Ids of digits only compare as numbers (bigint keys read as text) and come before all others, which keeps the order total. */
function compareIds(a: string, b: string): number {
  const aIsNumber = DIGITS.test(a);
  const bIsNumber = DIGITS.test(b);
  if (aIsNumber !== bIsNumber) return aIsNumber ? -1 : 1;
  if (!aIsNumber) return compareText(a, b);

  const difference = BigInt(a) - BigInt(b);
  return difference === 0n ? compareText(a, b) : difference < 0n ? -1 : 1;
}

const DIGITS = /^[0-9]{1,100}$/;

function compareText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
