/**
 * Loaded into a process before anything else (`node --import`): its wall clock is wrong by as many milliseconds as the file named by
 * CLOCK_SHIFT_FILE says, from one moment to the next, as after a correction by hand. The monotonic clock goes on as it does then.
 */
import { readFileSync } from "node:fs";

const RealDate = globalThis.Date;
const now = () => RealDate.now() + Number(readFileSync(process.env.CLOCK_SHIFT_FILE, "utf8"));

globalThis.Date = class extends RealDate {
  constructor(...parts) {
    if (parts.length === 0) super(now());
    else super(...parts);
  }
  static now() {
    return now();
  }
};
