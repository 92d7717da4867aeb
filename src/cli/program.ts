/** The command line. A placeholder until its author arrives. */
export async function program(args: readonly string[]): Promise<void> {
  process.stderr.write(`Cannot run "${args.join(' ')}": the command line is not built yet\n`)
  process.exitCode = 2
}
