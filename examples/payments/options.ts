import { parseArgs } from 'node:util'

export interface Settings {
  readonly payments: number
  readonly seed: number
  readonly json: boolean
  readonly keep: boolean
  readonly inject: 'double' | 'loss' | undefined
  /** How long the provider remembers a key. */
  readonly windowMs: number
}

// A provider has to remember a key for longer than the queue repeats a charge.
const LEAST_WINDOW_MS = 60_000

const USAGE =
  'Usage: npm run demo:payments [-- --payments 2000 --seed 1 --json --keep --inject double|loss --window-ms 300000]'

/** The options of the command line; a wrong one ends the process with the usage. */
export function parseCommandLine(args: readonly string[]): Settings {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        payments: { type: 'string', default: '1000' },
        seed: { type: 'string', default: '1' },
        'window-ms': { type: 'string', default: '300000' },
        inject: { type: 'string' },
        json: { type: 'boolean', default: false },
        keep: { type: 'boolean', default: false },
      },
    })
    const { inject, json, keep } = values
    if (inject !== undefined && inject !== 'double' && inject !== 'loss')
      throw new Error(`Unknown fault "${inject}": double or loss`)
    return {
      payments: whole(values.payments, 'payments', [1, 1_000_000]),
      seed: whole(values.seed, 'seed', [0, 2 ** 31 - 1]),
      windowMs: whole(values['window-ms'], 'window-ms', [LEAST_WINDOW_MS, 86_400_000]),
      inject,
      json,
      keep,
    }
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${USAGE}\n`)
    return process.exit(2)
  }
}

function whole(text: string, option: string, [least, most]: readonly [number, number]): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (value >= least && value <= most) return value
  throw new Error(`Cannot use --${option}: it is not a whole number from ${least} to ${most}`)
}
