import { Command, type CommandUnknownOpts, InvalidArgumentError } from '@commander-js/extra-typings'

/** A command, whatever its options. */
export type Shaped = CommandUnknownOpts

/** Where every command begins: it throws instead of ending the process, and leaves telling of it to `report`. */
export function command(name: string) {
  return new Command(name)
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .helpOption('-h, --help', 'what you read')
}

/** A command that speaks to the database and can answer in JSON. */
export function databaseCommand(name: string) {
  return command(name)
    .option('--url <url>', 'connection string of the database')
    .option('--schema <name>', 'the schema that holds everything (default: "posthaste")')
    .option('--config <path>', 'configuration file (default: posthaste.config.ts, if there is one)')
    .option('--json', 'answer in JSON')
}

/** The parts of `--help` that follow the options: an example, and the shape of the JSON. */
export function told({ example, json }: { readonly example: string; readonly json?: string }): string {
  const shape = json === undefined ? '' : `\nJSON:\n  ${json}\n`
  return `\nExample:\n  $ ${example.split('\n').join('\n  $ ')}\n${shape}`
}

/** Reads a whole number of a range from an argument. */
export function wholeBetween(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
    if (value >= least && value <= most) return value
    throw new InvalidArgumentError(`It is not a whole number from ${least} to ${most}.`)
  }
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Reads a time span from an argument, in milliseconds. */
export function duration(text: string): number {
  const [, number, unit = ''] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text) ?? []
  const ms = Number(number) * (UNITS[unit] ?? Number.NaN)
  if (ms > 0) return ms
  throw new InvalidArgumentError('It is not a time above 0; write 500ms, 30s, 10m, 2h or 1d.')
}
