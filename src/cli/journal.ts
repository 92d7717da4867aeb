import { databaseCommand, told, wholeBetween } from './command.ts'
import { withPosthaste } from './open.ts'
import { cut, print, printJson, printTable } from './output.ts'

export function journalCommand() {
  return databaseCommand('journal')
    .description('Who did what by hand: redrives, purges, erasures, resolutions; the newest first.')
    .option('--queue <name>', 'to this queue')
    .option('--limit <count>', 'how many, 1 to 1000', wholeBetween(1, 1_000), 100)
    .option('--before <id>', 'continue a list: only what is older than this one')
    .addHelpText(
      'after',
      told({
        example: 'posthaste journal --queue billing',
        json: `{"version":1,"acts":[{"id","at","by","act","queue","facts":{…}}],"next"}
   next: give it to --before for what follows, null at the end`,
      }),
    )
    .action(async ({ queue, limit, before, json, ...where }) => {
      const acts = await withPosthaste({ ...where, json, applicationName: 'posthaste journal' }, ({ posthaste }) =>
        posthaste.journal({ queue, limit, before }),
      )
      const next = acts.length === limit ? acts.at(-1)!.id : null
      if (json) return printJson({ acts, next })
      await printTable(
        ['id', 'at', 'by', 'act', 'queue', 'facts'],
        acts.map(({ id, at, by, act, queue, facts }) => [id, at, by, act, queue, cut(JSON.stringify(facts), 80)]),
        'Nothing was done by hand',
      )
      if (next !== null) print(`\nThere may be more: --before ${next}`)
    })
}
