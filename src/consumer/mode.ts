import type { Taken } from './slots.ts'

/** How a consumer takes deliveries and settles them: when the claim commits, and who settles. */
export interface Mode {
  /** Claims once, tells how much that brought, and works it off. */
  take(claimed: (taken: Taken) => void): Promise<Taken>
  /** Works off one delivery, to try a half-open breaker; how many there were. */
  takeOne(): Promise<number>
  /** Works off one delivery that was held by a process that ended, in no company; nothing is claimed when there is none. */
  takeAlone(): Promise<Taken>
  /** Gives back what was taken and not begun. */
  close(): Promise<void>
}
