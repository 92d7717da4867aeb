import { Thrift, type ThriftOptions } from '../machinery/thrift.ts'
import { lowestReady } from '../postgres/claim.ts'
import { run } from '../postgres/queryable.ts'
import { BOTTOM, type Positions } from '../rules/position.ts'
import { Ground } from './ground.ts'
import type { Seat } from './seat.ts'

/** When a look from the bottom may be had: at least so often, however costly it is. */
export const FROM_THE_BOTTOM: ThriftOptions = Object.freeze({ everyMs: 0, mostMs: 600_000 })

// What somebody spoke of and nobody found may take a fiftieth of the time.
const URGENT = 0.02

/**
 * Where the lowest rows of a queue are. A look begins at the bottom as long as that is cheap, which it is where vacuum does its
 * work, and at the ground where it is not.
 */
export class Depth<Tx> {
  readonly #seat: Pick<Seat<Tx>, 'context' | 'number'>
  readonly #now: () => number
  readonly #ground = new Ground()
  readonly #whole: Thrift

  constructor(seat: Pick<Seat<Tx>, 'context' | 'number'>, now: () => number = () => performance.now()) {
    this.#seat = seat
    this.#now = now
    this.#whole = new Thrift(FROM_THE_BOTTOM, now)
  }

  /** Below it nothing is left. */
  get ground(): Positions {
    return this.#ground.positions
  }

  /** The lowest row of each priority, whoever holds it. */
  async look({ urgent = false }: { readonly urgent?: boolean } = {}): Promise<Positions> {
    const whole = urgent ? this.#whole.isDue(URGENT) : this.#whole.due
    return whole ? await this.#whole.spend(() => this.#lookFrom(BOTTOM)) : await this.#lookFrom(this.ground)
  }

  async #lookFrom(from: Positions): Promise<Positions> {
    const { context, number } = this.#seat
    const askedAt = this.#now()
    const [found] = await run(context.database, lowestReady(context.tables, { queue: number, from }))
    this.#ground.saw(found!, { askedAt, now: this.#now() })
    return found!.lowest
  }
}
