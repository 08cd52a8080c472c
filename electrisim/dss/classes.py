"""The classes of OpenDSS that are read, and what becomes of each property.

A table per class, in OpenDSS' order, which decides what a value without a name belongs to and what
an abbreviation stands for. After the colon stands how a value is read:

    n i b w    number, whole number, flag, word          ns ws   numbers, words
    bus buses  a bus, one per winding                    m u     matrix, unit of length
    ref        another object's name                     shape   a load shape's name
    -          without effect on a power flow            !       refused: it changes the numbers
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from electrisim.dss import values
from electrisim.dss.syntax import Value


class Class(NamedTuple):
    """A class: its properties in order, and which of them are given winding by winding.

    winding   property of one winding (after `wdg=`) → how it is read
    windings  property with a value per winding → the property of one winding that it stands for
    """

    properties: Mapping[str, str]
    winding: frozenset[str] = frozenset()
    windings: Mapping[str, str] = MappingProxyType({})


def _table(text: str) -> Mapping[str, str]:
    rows = (row.partition(":") for row in text.split())
    return MappingProxyType({name: how or "-" for name, _, how in rows})


_RATINGS = "normamps:n emergamps faultrate pctperm repair"
_END = "basefreq:n enabled:b like"

_WINDING = frozenset({"bus", "conn", "kv", "kva", "tap", "%r", "rneut", "xneut", "maxtap", "mintap",
                      "numtaps", "rdcohms"})  # fmt: skip
_WINDINGS = MappingProxyType(
    {"buses": "bus", "conns": "conn", "kvs": "kv", "kvas": "kva", "taps": "tap", "%rs": "%r"}
)
_PLATE = (
    "xhl:n xht:n xlt:n xscarray:! thermal n m flrise hsrise %loadloss:n %noloadloss:n normhkva:n "
    "emerghkva:n"
)

CLASSES: Mapping[str, Class] = MappingProxyType(
    {
        "vsource": Class(_table(
            "bus1:bus basekv:n pu:n angle:n frequency:n phases:i mvasc3:n mvasc1:n x1r1:n x0r0:n "
            "isc3:n isc1:n r1:n x1:n r0:n x0:n scantype sequence bus2:! z1:ns z0:ns z2:! puz1:! "
            "puz0:! puz2:! basemva:! yearly daily duty model:! puzideal:! spectrum " + _END
        )),
        "line": Class(_table(
            "bus1:bus bus2:bus linecode:ref length:n phases:i r1:n x1:n r0:n x0:n c1:n c0:n "
            "rmatrix:m xmatrix:m cmatrix:m switch:b rg xg rho geometry:! units:u spacing:! "
            "wires:! earthmodel cncables:! tscables:! b1:n b0:n seasons ratings linetype "
            f"{_RATINGS} {_END}"
        )),
        "linecode": Class(_table(
            "nphases:i r1:n x1:n r0:n x0:n c1:n c0:n units:u rmatrix:m xmatrix:m cmatrix:m "
            f"basefreq:n {_RATINGS} kron:! rg xg rho neutral:! b1:n b0:n seasons ratings linetype "
            "like"
        )),
        "load": Class(_table(
            "phases:i bus1:bus kv:n kw:n pf:n model:i yearly:shape daily:shape duty:shape growth "
            "conn:w kvar:n rneut:! xneut:! status:w class vminpu:n vmaxpu:n vminnorm vminemerg "
            "xfkva:! allocationfactor:! kva:n %mean %stddev cvrwatts:! cvrvars:! kwh:! kwhdays:! "
            "cfactor:! cvrcurve:! numcust zipv:ns %seriesrl relweight vlowpu:n puxharm xrharm "
            f"spectrum {_END}"
        )),
        "generator": Class(_table(
            "phases:i bus1:bus kv:n kw:n pf:n kvar:n model:i vminpu:n vmaxpu:n yearly:shape "
            "daily:shape duty:shape dispmode dispvalue conn:w status class vpu:n maxkvar:n "
            "minkvar:n pvfactor forceon kva:n mva:n xd xdp xdpp h d usermodel:! userdata:! "
            "shaftmodel:! shaftdata:! dutystart debugtrace:! balanced xrdp usefuel:! fuelkwh "
            f"%fuel %reserve refuel dynamiceq:! dynout:! spectrum {_END}"
        )),
        "transformer": Class(
            _table(
                "phases:i windings:i wdg:i bus:bus conn:w kv:n kva:n tap:n %r:n rneut:! xneut:! "
                f"buses:buses conns:ws kvs:ns kvas:ns taps:ns {_PLATE} sub maxtap:n mintap:n "
                "numtaps:i subname %imag:n ppm_antifloat %rs:ns bank xfmrcode:ref xrconst "
                "x12:n x13:n x23:n leadlag:w wdgcurrents core rdcohms:! seasons ratings "
                f"{_RATINGS} {_END}"
            ),
            _WINDING, _WINDINGS,
        ),
        "xfmrcode": Class(
            _table(
                "phases:i windings:i wdg:i conn:w kv:n kva:n tap:n %r:n rneut:! xneut:! conns:ws "
                f"kvs:ns kvas:ns taps:ns {_PLATE} maxtap:n mintap:n numtaps:i %imag:n "
                "ppm_antifloat %rs:ns x12:n x13:n x23:n rdcohms:! seasons ratings like"
            ),
            _WINDING, _WINDINGS,
        ),
        "capacitor": Class(_table(
            "bus1:bus bus2:bus phases:i kvar:ns kv:n conn:w cmatrix:m cuf:! r:ns xl:ns harm:ns "
            f"numsteps:i states:ns {_RATINGS} {_END}"
        )),
        "reactor": Class(_table(
            "bus1:bus bus2:bus phases:i kvar:n kv:n conn:w rmatrix:! xmatrix:! parallel r:n x:n "
            f"rp:n z1:! z2:! z0:! z:! rcurve lcurve lmh:n {_RATINGS} {_END}"
        )),
        "pvsystem": Class(_table(
            "phases:i bus1:bus kv:n irradiance:n pmpp:n %pmpp:n temperature:n pf:n conn:w kvar:n "
            "kva:n %cutin:n %cutout:n effcurve:ref p-tcurve:ref %r %x model:i vminpu:n vmaxpu:n "
            "balanced limitcurrent:b yearly daily duty tyearly tdaily tduty class usermodel:! "
            "userdata:! debugtrace:! varfollowinverter dutystart wattpriority pfpriority "
            "%pminnovars:! %pminkvarmax:! kvarmax:! kvarmaxabs:! kvdc kp pitol safevoltage "
            f"safemode dynamiceq:! dynout:! controlmode amplimit amplimitgain spectrum {_END}"
        )),
        "storage": Class(_table(
            "phases:i bus1:bus kv:n conn:w kw:n kvar:n pf:n kva:n %cutin:! %cutout:! effcurve:! "
            "varfollowinverter kvarmax kvarmaxabs wattpriority pfpriority %pminnovars %pminkvarmax "
            "kwrated:n %kwrated:! kwhrated:n kwhstored:n %stored:n %reserve:n state:w %discharge:n "
            "%charge:n %effcharge:n %effdischarge:n %idlingkw:n %idlingkvar:! %r %x model:i "
            "vminpu:n vmaxpu:n balanced limitcurrent:b yearly daily duty dispmode:! "
            "dischargetrigger chargetrigger timechargetrig class dynadll:! dynadata:! "
            "usermodel:! userdata:! debugtrace:! kvdc kp pitol safevoltage safemode dynamiceq:! "
            f"dynout:! controlmode amplimit amplimitgain spectrum {_END}"
        )),
        "regcontrol": Class(_table(
            "transformer:w winding:i vreg:n band:n ptratio:n ctprim r:n x:n bus:bus delay "
            "reversible:b revvreg revband revr revx tapdelay debugtrace:! maxtapchange inversetime "
            "tapwinding:i vlimit:n ptphase revthreshold revdelay revneutral eventlog remoteptratio "
            "tapnum:i reset ldc_z:n rev_z cogen basefreq enabled:b like"
        )),
        "loadshape": Class(_table(
            "npts:i interval:n mult:ns hour:ns mean stddev csvfile:! sngfile:! dblfile:! action:! "
            "qmult:ns useactual:b pmax qmax sinterval:n minterval:n pbase qbase pmult:ns "
            "pqcsvfile:! memorymapping:! interpolation like"
        )),
        "xycurve": Class(_table(
            "npts:i points:ns yarray:ns xarray:ns csvfile:! sngfile:! dblfile:! x y xshift:n "
            "yshift:n xscale:n yscale:n like"
        )),
    }
)  # fmt: skip

#: Classes without effect on a power flow: their properties are not read.
WITHOUT_EFFECT = frozenset(
    {
        "energymeter", "monitor", "sensor", "spectrum", "tcc_curve", "growthshape", "priceshape",
        "tshape",
    }
)  # fmt: skip

#: Controls that are not read: steps stay as they are written, and this is said.
CONTROLS = frozenset({"capcontrol"})

#: Classes that are refused, and why.
REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "linegeometry": "line constants are not calculated from conductors; give a LineCode",
        "wiredata": "line constants are not calculated from conductors; give a LineCode",
        "linespacing": "line constants are not calculated from conductors; give a LineCode",
        "cndata": "line constants are not calculated from conductors; give a LineCode",
        "tsdata": "line constants are not calculated from conductors; give a LineCode",
        "invcontrol": "inverter controls have no element in the graph",
        "expcontrol": "inverter controls have no element in the graph",
        "storagecontroller": "storage controllers have no element in the graph",
        "gendispatcher": "dispatchers have no element in the graph",
        "swtcontrol": "switch controls have no element in the graph",
        "fuse": "protection has no element in the graph",
        "relay": "protection has no element in the graph",
        "recloser": "protection has no element in the graph",
        "fault": "a fault is no part of a power flow",
        "isource": "current sources have no element in the graph",
        "gicline": "induced currents have no element in the graph",
        "gictransformer": "induced currents have no element in the graph",
        "gicsource": "induced currents have no element in the graph",
        "autotrans": "autotransformers have no element in the graph",
        "upfc": "power flow controllers have no element in the graph",
        "upfccontrol": "power flow controllers have no element in the graph",
        "esdcontrol": "storage controllers have no element in the graph",
        "vccs": "controlled current sources have no element in the graph",
        "indmach012": "induction machines have no element in the graph",
        "windgen": "wind generators have no element in the graph",
        "generic5": "dynamic models have no element in the graph",
        "dynamicexp": "dynamic models have no element in the graph",
    }
)

READERS: Mapping[str, Callable[[Value], Any]] = MappingProxyType(
    {
        "n": values.number, "i": values.integer, "b": values.flag, "w": values.word,
        "ns": values.numbers, "ws": values.words, "bus": values.bus, "buses": values.buses,
        "m": values.matrix, "u": values.unit, "ref": values.word, "shape": values.word,
    }
)  # fmt: skip
