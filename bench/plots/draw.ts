// Pictures as SVG, without a browser and without a canvas.
import { parse, View } from 'vega'
import { compile, type TopLevelSpec } from 'vega-lite'
import type { Plot } from '../stand/workload.ts'

const SIDES = ['posthaste', 'plain', 'pg-boss', 'graphile-worker', 'bullmq', 'inline']
const COLOURS = ['#d1342f', '#8a8a8a', '#3b6fb6', '#e8a33d', '#5b9e5f', '#555555']

export async function svgOf(plot: Plot): Promise<string> {
  const { spec } = compile(specOf(plot))
  return `${await new View(parse(spec), { renderer: 'none' }).toSVG()}\n`
}

function specOf({ title, kind, x, y, logarithmic = false, rows }: Plot): TopLevelSpec {
  const values = rows.filter((row) => row.y !== null).map(({ side, x: at, y: value }) => ({ side, at, value }))
  const known = values.every(({ side }) => SIDES.includes(side))
  const shown = SIDES.filter((one) => values.some(({ side }) => side === one))
  const colour = {
    field: 'side',
    type: 'nominal' as const,
    title: null,
    sort: SIDES,
    ...(known && { scale: { domain: shown, range: shown.map((side) => COLOURS[SIDES.indexOf(side)]!) } }),
  }
  const steps = [...new Set(values.map(({ at }) => at))] as number[]
  const numeric = values.every(({ at }) => typeof at === 'number')
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title,
    width: 480,
    height: 260,
    background: 'white',
    data: { values },
    mark: kind === 'bars' ? { type: 'bar' } : { type: 'line', point: true },
    encoding: {
      x: {
        field: 'at',
        title: x === 'side' ? null : x,
        type: kind === 'lines' && numeric ? 'quantitative' : 'nominal',
        ...(kind === 'lines' && numeric && logarithmic && { scale: { type: 'log' as const }, axis: { values: steps } }),
        ...(kind === 'bars' && { sort: SIDES, axis: { labelAngle: 0 } }),
      },
      y: { field: 'value', title: y, type: 'quantitative' },
      color: colour,
      ...(kind === 'bars' && x !== 'side' && { xOffset: { field: 'side', sort: SIDES } }),
    },
  }
}
