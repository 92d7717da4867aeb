import { ARTICLES } from './shop.ts'

export interface OrderLine {
  readonly article: string
  readonly quantity: number
  readonly cents: number
}

/** One line of a scarce article, and some of what never runs out. */
export interface Order {
  readonly id: number
  readonly customer: string
  readonly lines: readonly [scarce: OrderLine, ...extras: OrderLine[]]
  readonly totalCents: number
  /** The customer changes his mind when everything is written but the COMMIT. */
  readonly rollsBack: boolean
}

const EXTRAS: readonly OrderLine[] = [
  { article: 'gift wrap', quantity: 1, cents: 250 },
  { article: 'greeting card', quantity: 1, cents: 399 },
  { article: 'express', quantity: 1, cents: 1_290 },
]

const ROLLED_BACK = 0.03

/** The same seed and number give the same order, in whichever process. */
export function orderOf(seed: number, id: number): Order {
  const random = randomOf(seed, id)
  const article = ARTICLES[Math.floor(random() * ARTICLES.length)]!
  const quantity = 1 + Math.floor(random() * 3)
  const scarce = { article, quantity, cents: quantity * (500 + Math.floor(random() * 9_500)) }
  const lines = [scarce, ...EXTRAS.filter(() => random() < 0.4)] as const
  return {
    id,
    customer: `customer ${1 + Math.floor(random() * 500)}`,
    lines,
    totalCents: lines.reduce((sum, { cents }) => sum + cents, 0),
    rollsBack: random() < ROLLED_BACK,
  }
}

/** Numbers in [0, 1) that depend on nothing but the seed and the stream (mulberry32). */
export function randomOf(seed: number, stream: number): () => number {
  let state = Math.imul(seed ^ 0x9e37_79b9, 0x85eb_ca6b) ^ Math.imul(stream + 1, 0xc2b2_ae35)
  return () => {
    state = (state + 0x6d2b_79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
