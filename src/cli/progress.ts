import { styleText } from 'node:util'

/** How far something is. Without a total or a share nobody knows, and the time alone is told. */
export interface Step {
  readonly done: number
  readonly total?: number | undefined
  /** How much of the whole it is, 0 to 1, where that is known and the total is not. */
  readonly share?: number | undefined
}

const PATIENCE_MS = 1_000
const REDRAW_MS = 100
const WIDTH = 24

/**
 * One line on standard error for what takes longer than a second, gone when it is over: a bar where the end is known, the time
 * where it is not. It is drawn for people: only on a terminal, and never together with --json.
 */
export class Progress {
  readonly #label: string
  readonly #startedAt = performance.now()
  readonly #timers: NodeJS.Timeout[] = []
  #step: Step = { done: 0 }
  #drawn = false

  constructor(label: string, { quiet = false }: { readonly quiet?: boolean } = {}) {
    this.#label = label
    if (quiet || !process.stderr.isTTY) return
    const patience = setTimeout(() => {
      this.#draw()
      this.#timers.push(setInterval(() => this.#draw(), REDRAW_MS).unref())
    }, PATIENCE_MS)
    this.#timers.push(patience.unref())
    shown = this
  }

  update(step: Step): void {
    this.#step = step
  }

  /** Makes room for a line of output; the bar comes back below it. */
  erase(): void {
    if (this.#drawn) process.stderr.write('\r\u001b[K')
    this.#drawn = false
  }

  [Symbol.dispose](): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.erase()
    if (shown === this) shown = undefined
  }

  #draw(): void {
    const line = progressLine(this.#label, this.#step, performance.now() - this.#startedAt)
    process.stderr.write(`\r\u001b[K${line}`)
    this.#drawn = true
  }
}

let shown: Progress | undefined

/** Clears the line of progress, if one is shown, so that output begins on a line of its own. */
export function eraseProgress(): void {
  shown?.erase()
}

/** `publish ████████░░░░░░░░ 45,000 of 90,000 · 50 % · 4 s` */
export function progressLine(
  label: string,
  { done, total, share = shareOf(done, total) }: Step,
  elapsedMs: number,
): string {
  const seconds = `${Math.round(elapsedMs / 1_000)} s`
  const count = done > 0 || total !== undefined ? done.toLocaleString('en') : undefined
  if (share === undefined) return [label, count, seconds].filter((part) => part !== undefined).join(' · ')
  const full = Math.floor(Math.min(1, share) * WIDTH)
  const bar = styleText('green', '█'.repeat(full), { stream: process.stderr }) + '░'.repeat(WIDTH - full)
  const counts = total === undefined ? count : `${count} of ${total.toLocaleString('en')}`
  return `${label} ${bar} ${counts} · ${Math.floor(Math.min(1, share) * 100)} % · ${seconds}`
}

function shareOf(done: number, total: number | undefined): number | undefined {
  return total === undefined ? undefined : total === 0 ? 1 : done / total
}
