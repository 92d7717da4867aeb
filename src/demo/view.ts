import { styleText } from 'node:util'
import type { Findings } from './audit.ts'
import type { Kills } from './chaos.ts'
import { SERVICES, type Service } from './shop.ts'

/** How far everything is, while it runs. */
export interface Progress {
  readonly orders: { readonly committed: number; readonly rolledBack: number; readonly unknown: number }
  readonly effects: { readonly [Name in Service]: number }
  readonly kills: Kills
}

export interface ViewOptions {
  readonly orders: number
  readonly seed: number
  readonly chaos: boolean
  readonly stream: NodeJS.WriteStream
}

/** What the library and the processes say in the end, beside the tables. */
export interface Testimony {
  readonly kills: Kills
  readonly difference: number
  readonly dead: number
  readonly crashes: readonly string[]
}

const PLAIN_EVERY_MS = 2_000
const BAR = 40
const COLUMNS = 80

/** A few lines that follow the progress on a terminal, one line now and then anywhere else; in the end, the result. */
export class View {
  readonly #options: ViewOptions
  readonly #startedAt = performance.now()
  #height = 0
  #plainAt = 0

  constructor(options: ViewOptions) {
    this.#options = options
    const { orders, seed, chaos } = options
    const title = `${number(orders)} orders, seed ${seed}, ${chaos ? 'with chaos' : 'without chaos'}`
    this.say(`${this.#paint('bold', 'Posthaste demo')}  ${title}`)
  }

  show(progress: Progress): void {
    if (this.#redrawable) this.#redraw(this.#lines(progress))
    else if (performance.now() - this.#plainAt >= PLAIN_EVERY_MS) this.#plain(progress)
  }

  say(line: string): void {
    this.#options.stream.write(`${line}\n`)
    this.#height = 0
  }

  result(findings: Findings, { kills, difference, dead, crashes }: Testimony): void {
    const { orders, effects, refused, throughputPerSecond } = findings
    this.say('')
    this.say(row('orders', transactions(orders)))
    this.say(row('billing', `${number(effects.billing)} effects`))
    this.say(row('inventory', `${number(effects.inventory)} effects, ${number(refused)} of them refused: out of stock`))
    this.say(row('notifications', `${number(effects.notifications)} effects`))
    if (this.#options.chaos) this.say(row('killed', killed(kills)))
    for (const words of crashes) this.say(row('crashed', words))
    this.say(row('latency', latency(findings)))
    this.say(row('throughput', `${number(throughputPerSecond)} orders per second, each with three effects`))
    this.say(row('audit', `difference ${number(difference)}${dead > 0 ? `, ${number(dead)} dead letters` : ''}`))
    this.say('')
    this.#verdict(findings, difference)
  }

  #verdict({ lost, duplicates, phantoms, oversold }: Findings, difference: number): void {
    const good = [lost, duplicates, phantoms, oversold, difference].every((count) => count === 0)
    const counts = `${number(lost)} lost, ${number(duplicates)} duplicated, ${number(phantoms)} phantom, ${number(oversold)} oversold`
    this.say(this.#paint(good ? 'green' : 'red', counts))
  }

  // A line that wraps could not be erased.
  get #redrawable(): boolean {
    const { isTTY, columns } = this.#options.stream
    return isTTY && columns >= COLUMNS
  }

  #redraw(lines: readonly string[]): void {
    const erase = this.#height > 0 ? `\x1b[${this.#height}A\x1b[0J` : ''
    this.#options.stream.write(`${erase}${lines.join('\n')}\n`)
    this.#height = lines.length
  }

  #lines({ orders, effects, kills }: Progress): string[] {
    return [
      row('orders', this.#bar(placed(orders))),
      ...SERVICES.map((service) => row(service, this.#bar(effects[service]))),
      row('transactions', transactions(orders)),
      ...(this.#options.chaos ? [row('killed', killed(kills))] : []),
      row('time', `${this.#seconds} s`),
    ]
  }

  #plain({ orders, effects, kills }: Progress): void {
    this.#plainAt = performance.now()
    const counts = SERVICES.map((service) => `${service} ${number(effects[service])}`).join(', ')
    const end = this.#options.chaos ? `; killed ${killed(kills)}` : ''
    this.say(`${this.#seconds.padStart(6)} s  ${number(placed(orders))} orders placed; ${counts}${end}`)
  }

  #bar(done: number): string {
    const full = Math.min(BAR, Math.floor((done / this.#options.orders) * BAR))
    return `${this.#paint('green', '█'.repeat(full))}${this.#paint('gray', '░'.repeat(BAR - full))}  ${number(done)}`
  }

  get #seconds(): string {
    return ((performance.now() - this.#startedAt) / 1_000).toFixed(1)
  }

  // styleText knows NO_COLOR, and whether the stream is a terminal.
  #paint(style: Parameters<typeof styleText>[0], text: string): string {
    return text === '' ? '' : styleText(style, text, { stream: this.#options.stream })
  }
}

function row(label: string, text: string): string {
  return `  ${label.padEnd(15)}${text}`
}

function placed({ committed, rolledBack, unknown }: Progress['orders']): number {
  return committed + rolledBack + unknown
}

function transactions({ committed, rolledBack, unknown }: Progress['orders']): string {
  return `${number(committed)} committed, ${number(rolledBack)} rolled back, ${number(unknown)} unknown`
}

function killed({ worker, relay, backend, withWorkInFlight }: Kills): string {
  return `${plural(worker, 'worker')} (${withWorkInFlight} with work in flight), ${plural(relay, 'relay')}, ${plural(backend, 'connection')}`
}

function latency({ latencyMs }: Findings): string {
  return `${latencyMs.p50} ms median, ${latencyMs.p95} ms p95, ${latencyMs.p99} ms p99, from order to effect`
}

function plural(count: number, noun: string): string {
  return `${number(count)} ${noun}${count === 1 ? '' : 's'}`
}

function number(value: number): string {
  return value.toLocaleString('en-GB')
}
