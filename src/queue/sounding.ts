import { Depth } from '../consumer/depth.ts'
import type { Context } from '../context.ts'
import { Thrift } from '../machinery/thrift.ts'
import { BOTTOM, type Positions } from '../rules/position.ts'

/** A lease that takes as long may have read what has died. */
const SLOW_MS = 20

/** A look is worth as much: the ground rises by the second one. */
const OFTEN = { everyMs: 5_000, mostMs: 15_000 }

/**
 * Where leases for those who pull begin. In a healthy database at the bottom, and nobody looks at anything. Where a lease was slow,
 * because a snapshot is held open and dead rows stay, it is looked where the ground is, and on from then, for as long as
 * leases begin above the bottom: what is committed late below the ground is found.
 */
export class Sounding {
  readonly #depth: Pick<Depth<unknown>, 'ground' | 'look'>
  readonly #looks: Thrift
  #looking = false

  constructor(depth: Pick<Depth<unknown>, 'ground' | 'look'>, now: () => number = () => performance.now()) {
    this.#depth = depth
    this.#looks = new Thrift(OFTEN, now)
  }

  get ground(): Positions {
    return this.#depth.ground
  }

  /** A lease from the ground on has taken so long. A look that fails is had again; it never rejects. */
  async leased(tookMs: number): Promise<void> {
    const low = this.ground.every((position, priority) => position === BOTTOM[priority])
    if ((low && tookMs < SLOW_MS) || this.#looking || !this.#looks.due) return
    this.#looking = true
    await this.#looks.spend(() => this.#depth.look()).catch(() => {})
    this.#looking = false
  }
}

const soundings = new WeakMap<object, Map<number, Sounding>>()

/** The one sounding of a queue in a Posthaste. */
export function soundingOf(context: Context, number: number): Sounding {
  const known = soundings.get(context.events) ?? new Map<number, Sounding>()
  const sounding = known.get(number) ?? new Sounding(new Depth({ context, number }))
  soundings.set(context.events, known.set(number, sounding))
  return sounding
}
