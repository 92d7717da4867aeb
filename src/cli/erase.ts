import { databaseCommand, told } from './command.ts'
import { confirm } from './confirm.ts'
import { Failure } from './failure.ts'
import { withPosthaste } from './open.ts'
import { harmless, print, printJson } from './output.ts'
import { myName } from './who.ts'

export function eraseCommand() {
  return databaseCommand('erase')
    .description(
      'Takes the payload of a message away wherever it stands: log, dead letters, errors, copies. Its id and the account stay. Asks first.',
    )
    .argument('<id>', 'the id of the message')
    .option('--yes', 'do not ask')
    .option('--by <name>', 'who does it, for the journal (default: you)')
    .addHelpText(
      'after',
      told({
        example: 'posthaste erase 0197a3f0-7c1e-7cc3-8f57-0e6d1b2c3d4e',
        json: `{"version":1,"found","copies":[ids],"underWay"}
   underWay: a transaction that may have kept the payload has not ended yet; run it again later`,
      }),
    )
    .action(async (id, { yes, by = myName(), json, ...where }) => {
      const erased = await withPosthaste(
        { ...where, json, applicationName: 'posthaste erase' },
        async ({ posthaste }) => {
          await confirm({ count: 1, what: 'payload', verb: 'erase', yes, json })
          return await posthaste.erase(id, { by })
        },
      )
      if (json) printJson({ ...erased })
      if (!erased.found) throw new Failure(`Cannot erase "${harmless(id)}": nothing is known of it`)
      if (!json) print(toldOf(id, erased))
    })
}

function toldOf(id: string, { copies, underWay }: { copies: readonly string[]; underWay: boolean }): string {
  return [
    `${harmless(id)} is erased`,
    ...copies.map((copy) => `and its copy ${harmless(copy)}`),
    ...(underWay ? ['A transaction that may have kept the payload has not ended yet: run it again later'] : []),
  ].join('\n')
}
