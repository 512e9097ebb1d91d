// Style sheet and script of the report: everything that the page needs is in it.
#pragma once

namespace smp::launch {

inline constexpr const char* kPageStyle = R"css(
:root{--bg:#fff;--card:#f6f8fa;--text:#1b2129;--soft:#59636e;--line:#d5dbe1;--warn:#8a5200;--good:#0b6b3a;
--c0:#1f6fc4;--c1:#c2560c;--c2:#2b8a3e;--c3:#8e3fb8;--c4:#b02a4c;--c5:#00808a;--c6:#7a6400;--c7:#5c6770;
--m0:#4c8fd6;--m1:#e69138;--m2:#63b35c;--m3:#c9b82a;--m4:#9b7fd4;--m5:#d97ba6;--m6:#4fb5b0;--m7:#a98467;--m8:#7d8794;--m9:#d46a5f;--m10:#a7b4c2}
@media (prefers-color-scheme:dark){:root{--bg:#14181e;--card:#1d232b;--text:#e4e9ef;--soft:#a0abb8;--line:#38414c;--warn:#f0b860;--good:#6fd29a;
--c0:#6cb4ee;--c1:#f2a65a;--c2:#8fce6d;--c3:#c9a0ee;--c4:#f58ea5;--c5:#5fd0d6;--c6:#dcc85a;--c7:#b4bcc6}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1180px;padding:16px;background:var(--bg);color:var(--text);font:15px/1.5 system-ui,sans-serif}
h1{font-size:22px;margin:0 0 4px;overflow-wrap:anywhere}h2{font-size:18px;margin:28px 0 8px}h3{font-size:14px;margin:0 0 4px}h4{font-size:13px;margin:10px 0 2px}
p{margin:4px 0}.soft,summary{color:var(--soft)}summary{cursor:pointer;margin:6px 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(140px,1fr));gap:8px;margin:12px 0}
.tile,.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px}
.tile b{display:block;font-size:17px;font-weight:600}.tile span{color:var(--soft);font-size:13px}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr));gap:12px}
svg.chart{display:block;width:100%;height:auto;touch-action:pan-y}
svg.chart text{fill:var(--soft);font:12px system-ui,sans-serif}.left{text-anchor:end}.below{text-anchor:middle}
.grid{stroke:var(--line);stroke-width:1}.cursor{stroke:var(--soft);stroke-width:1;stroke-dasharray:2 2}
.line{fill:none;stroke-width:1.6;stroke-linejoin:round}.dashed{stroke-dasharray:5 4}.band{stroke-opacity:.28}
.c0{stroke:var(--c0)}.c1{stroke:var(--c1)}.c2{stroke:var(--c2)}.c3{stroke:var(--c3)}.c4{stroke:var(--c4)}.c5{stroke:var(--c5)}.c6{stroke:var(--c6)}.c7{stroke:var(--c7)}
circle{fill:var(--bg)}
.legend{font-size:13px;color:var(--soft)}.legend span{white-space:nowrap;margin-right:10px}.legend i{display:inline-block;width:14px;height:10px;margin-right:4px;border-radius:2px}
.legend i.s0{background:var(--c0)}.legend i.s1{background:var(--c1)}.legend i.s2{background:var(--c2)}.legend i.s3{background:var(--c3)}.legend i.s4{background:var(--c4)}.legend i.s5{background:var(--c5)}.legend i.s6{background:var(--c6)}.legend i.s7{background:var(--c7)}
.legend i.hollow{opacity:.45}
.readout{font-size:13px;min-height:1.5em;margin:0;color:var(--text)}
.m0{background:var(--m0)}.m1{background:var(--m1)}.m2{background:var(--m2)}.m3{background:var(--m3)}.m4{background:var(--m4)}.m5{background:var(--m5)}.m6{background:var(--m6)}.m7{background:var(--m7)}.m8{background:var(--m8)}.m9{background:var(--m9)}.m10{background:var(--m10)}
.bar{display:grid;grid-template-columns:76px 1fr 84px;gap:8px;align-items:center;font-size:13px;margin:2px 0}
.bar>div{display:flex;height:16px;background:var(--card);border-radius:3px;overflow:hidden}.bar i{height:100%}.bar b{font-weight:500;text-align:right}
.wide{overflow-x:auto}.wide svg{display:block}
table{border-collapse:collapse;font-size:13px}td,th{padding:3px 10px 3px 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
th{color:var(--soft);font-weight:500}.differs{color:var(--warn)}
ul{margin:4px 0;padding-left:20px}.warnings li{color:var(--warn)}.advice li{color:var(--good)}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px;font-size:13px;margin:4px 0}
)css";

/// Shows the values under the pointer. What is drawn is there without it.
inline constexpr const char* kPageScript = R"js(
(function(){
var data=JSON.parse(document.getElementById('smp-data').textContent);
function shown(v,unit){
if(unit==='bytes')return (v/1073741824).toPrecision(4)+' GiB';
if(unit==='percent')return (100*v).toPrecision(3)+' %';
return String(Number(v.toPrecision(6)))+(unit==='seconds'?' s':'');}
function nearest(points,step){
var low=0,high=points.length-1;
while(high-low>1){var middle=(low+high)>>1;if(points[middle][0]<step)low=middle;else high=middle;}
return Math.abs(points[low][0]-step)<=Math.abs(points[high][0]-step)?points[low]:points[high];}
Array.prototype.forEach.call(document.querySelectorAll('svg.chart'),function(svg){
var chart=data.charts[Number(svg.dataset.chart)],first=Number(svg.dataset.first),last=Number(svg.dataset.last);
var readout=svg.parentNode.querySelector('.readout'),cursor=svg.querySelector('.cursor');
svg.addEventListener('pointermove',function(event){
var box=svg.getBoundingClientRect(),x=(event.clientX-box.left)*420/box.width;
var step=first+(last-first)*Math.min(1,Math.max(0,(x-64)/346));
var words=[];
chart.lines.forEach(function(line){
var points=(data.runs[line.run].columns[line.column]||[]);
if(!points.length)return;
var point=nearest(points,step);words.push(line.label+' '+shown(point[1],chart.unit)+' (step '+point[0]+')');});
cursor.setAttribute('d','M'+Math.min(410,Math.max(64,x)).toFixed(1)+' 10V204');
readout.textContent=words.join('; ');});
svg.addEventListener('pointerleave',function(){readout.textContent='';cursor.setAttribute('d','');});});
})();
)js";

}  // namespace smp::launch
