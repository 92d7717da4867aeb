import type { CommandUnknownOpts } from '@commander-js/extra-typings'
import { wholeProgram } from '../../src/cli/program.ts'
import { parseShape, type Shape } from './shape.ts'

/** A command that does something, as `--help` tells of it. */
export interface Leaf {
  /** `dead purge` */
  readonly path: string
  readonly command: CommandUnknownOpts
  readonly help: string
}

/** Every command of the program that does something, those of families included, and all that will be added. */
export async function everyCommand(): Promise<Leaf[]> {
  return leavesOf(await wholeProgram(), [])
}

/** What `--json` answers, as the help has it. */
export function shapeOf({ path, help }: Leaf): Shape {
  const told = /\nJSON:\n\s+([\s\S]*)$/.exec(help)?.[1]
  if (told === undefined) throw new Error(`"posthaste ${path} --help" does not tell what --json answers`)
  return parseShape(told)
}

function leavesOf(command: CommandUnknownOpts, path: readonly string[]): Leaf[] {
  if (command.commands.length > 0) return command.commands.flatMap((each) => leavesOf(each, [...path, each.name()]))
  return [{ path: path.join(' '), command, help: helpOf(command) }]
}

/** The text of `--help`, what is added after it included. */
export function helpOf(command: CommandUnknownOpts): string {
  let text = ''
  command.configureOutput({
    writeOut: (more) => (text += more),
    getOutHelpWidth: () => 120,
    getOutHasColors: () => false,
  })
  command.outputHelp()
  return text
}
