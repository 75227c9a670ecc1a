/** The type of the environment, as it is passed around. Pure; config.ts reads the settings. */

export type Environment = Readonly<Record<string, string | undefined>>;

/** Compose files and shells write "not set" as an empty variable. */
export function isUnset(value: string | undefined): boolean {
  return value === undefined || value === "";
}
