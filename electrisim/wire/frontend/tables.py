"""The browser's words: which of its fields mean what, kind by kind.

The browser has four collectors, which turn one diagram into four dialects. A kind's table is the
union of them: `fields` is what power flow reads, `beyond` what other studies read or what a
collector fills in although no dialog has it. What is in neither is unknown, and the answer says so.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from electrisim import elements as e
from electrisim.elements import Element
from electrisim.wire.frontend import conversions as c
from electrisim.wire.frontend.report import About

Values = dict[str, Any]


class Spelling(NamedTuple):
    """How the browser writes one kind of element.

    kind      the catalogue's kind; None where there is none, and then `refusal` says why
    fields    browser's field → catalogue's field, of what power flow reads
    terminals browser's field, or several that mean the same → catalogue's reference
    unset     fields in which the browser writes 0 for "not set"
    needs     fields that the catalogue has a default for, and the browser must give all the same
    beyond    known fields that do not concern power flow
    convert   what is no renaming: from the values that were read to the catalogue's
    """

    kind: type[Element] | None
    fields: Mapping[str, str] = MappingProxyType({})
    terminals: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    unset: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    beyond: frozenset[str] = frozenset()
    convert: Callable[[Values, Mapping[str, Any], About], None] | None = None
    refusal: str = ""


def _words(*texts: str) -> frozenset[str]:
    return frozenset(word for text in texts for word in text.split())


def _same(text: str, **renamed: str) -> Mapping[str, str]:
    return MappingProxyType({**{word: word for word in text.split()}, **renamed})


_BUS: Mapping[str, tuple[str, ...]] = MappingProxyType({"bus": ("bus",)})
_FROM_TO: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"from_bus": ("busFrom",), "to_bus": ("busTo",)}
)

# -- fields of other studies, by what they are for -------------------------------------------------

COST = (
    "cost_per_unit_by_currency opf_cost_currency opf_cp2_eur_per_mw2 opf_marginal_cost_eur_per_mwh"
)
LIMITS = "controllable max_p_mw min_p_mw max_q_mvar min_q_mvar max_loading_percent"
HARMONICS = "spectrum spectrum_csv XRdp Xdpp XRharm pctSeriesRL puXharm"
#: Numbers that the OpenDSS collector writes itself; no dialog has them.
FILLERS = "sn_mva scaling type"
TAP_CONTROL = "discrete_tap_control control_side vm_lower_pu vm_upper_pu"
STEP_FILLERS = "step_degree step_max step_min step_pos step_phase_shifter"
MACHINE = "k kappa lrc_pu max_ik_ka rx generator_type current_source va_degree vm_pu"
PROTECTION = (
    "I_g_a I_gg_a I_s_a ct_current_factor curve_type fuse_custom_std_json fuse_mode fuse_type "
    "oc_relay_type overload_factor pickup_mode protection_type rated_i_a safety_factor t_diff t_g "
    "t_gg t_grade tms"
)
#: How a battery would act in time; a snapshot takes its power as given.
DISPATCH = (
    "conn disp_mode pct_charge pct_discharge pct_eff_charge pct_eff_discharge pct_idling_kw "
    "pct_idling_kvar discharge_trigger charge_trigger time_charge_trig pf vv_curve_preset "
    "vv_xarray vv_yarray wattpf_xarray wattpf_yarray"
)
#: OpenDSS' properties of a PVSystem that its model at a given irradiance does not use.
INVERTER = (
    "kv conn vmaxpu vminpu yearly daily duty tyearly tdaily tduty class_ debugtrace pminkvarmax "
    "pminnovars amplimit amplimitgain balanced basefreq dutystart dynamiceq dynout kp kvarmax "
    "kvarmaxabs kvdc limitcurrent pfpriority pitol safemode safevoltage varfollowinverter "
    "wattpriority"
)

_WARD = "ps_mw qs_mvar pz_mw qz_mvar"
_TAPS = "tap_side tap_neutral tap_min tap_max tap_step_percent tap_step_degree tap_pos"
_THYRISTOR = (
    "x_l_ohm x_cvar_ohm thyristor_firing_angle_degree controllable min_angle_degree "
    "max_angle_degree in_service"
)
_PHASES = "p_a_mw p_b_mw p_c_mw q_a_mvar q_b_mvar q_c_mvar sn_mva scaling type in_service"
_WINDINGS = " ".join(
    f"sn_{side}_mva vn_{side}_kv vk_{side}_percent vkr_{side}_percent"
    for side in ("hv", "mv", "lv")
)
_ZERO_WINDINGS = " ".join(f"vk0_{side}_percent vkr0_{side}_percent" for side in ("hv", "mv", "lv"))
_UNSPOKEN = Spelling(
    None, refusal="is a kind of which the browser does not send what it is made of"
)

#: The browser's `typ`, without its running number → how the kind is written.
SPELLINGS: Mapping[str, Spelling] = MappingProxyType({
    "Bus": Spelling(
        e.Bus,
        _same("vn_kv in_service"),
        beyond=_words("min_vm_pu max_vm_pu", COST),
    ),
    "External Grid": Spelling(
        e.ExternalGrid,
        _same("vm_pu va_degree in_service"),
        _BUS,
        unset=_words("vm_pu s_sc_max_mva s_sc_min_mva x0x_max"),
        beyond=_words(
            "s_sc_max_mva s_sc_min_mva rx_max rx_min r0x0_max x0x_max", LIMITS, COST, HARMONICS
        ),
    ),
    "Generator": Spelling(
        e.Generator,
        _same("p_mw vm_pu sn_mva scaling in_service"),
        _BUS,
        unset=_words("sn_mva vn_kv xdss_pu rdss_ohm cos_phi"),
        beyond=_words(
            "vn_kv xdss_pu rdss_ohm cos_phi pg_percent power_station_trafo q_mvar va_degree",
            LIMITS, COST, HARMONICS,
        ),
        convert=c.generator,
    ),
    "Static Generator": Spelling(
        e.StaticGenerator,
        _same("p_mw q_mvar sn_mva scaling in_service"),
        _BUS,
        unset=_words("sn_mva k kappa lrc_pu max_ik_ka"),
        beyond=_words(
            "type reactive_capability_curve curve_style q_capability_curve_json",
            MACHINE, LIMITS, COST, HARMONICS,
        ),
        convert=c.static_generator,
    ),
    "Asymmetric Static Generator": Spelling(
        e.AsymmetricStaticGenerator,
        _same(_PHASES),
        _BUS,
        unset=_words("sn_mva"),
        beyond=_words(MACHINE, LIMITS, COST),
    ),
    "Load": Spelling(
        e.Load,
        _same(
            "p_mw q_mvar sn_mva scaling type in_service",
            const_z_percent="const_z_p_percent",
            const_i_percent="const_i_p_percent",
        ),
        _BUS,
        unset=_words("sn_mva"),
        beyond=_words(
            "conn const_p_percent const_q_percent const_y_percent const_s_percent "
            "const_s_percent_abs const_s_percent_abs_degree const_s_percent_abs_degree_abs "
            "const_s_percent_abs_degree_abs_degree",
            LIMITS, COST, HARMONICS,
        ),
        convert=c.load,
    ),
    "Asymmetric Load": Spelling(
        e.AsymmetricLoad, _same(_PHASES), _BUS, unset=_words("sn_mva"), beyond=_words(COST)
    ),
    "Line": Spelling(
        e.Line,
        _same(
            "length_km r_ohm_per_km x_ohm_per_km c_nf_per_km g_us_per_km max_i_ka df parallel "
            "in_service"
        ),
        _FROM_TO,
        unset=_words("endtemp_degree"),
        beyond=_words(
            "type r0_ohm_per_km x0_ohm_per_km c0_nf_per_km endtemp_degree", LIMITS, COST
        ),
    ),
    "Transformer": Spelling(
        e.Transformer,
        _same(
            "sn_mva vn_hv_kv vn_lv_kv vk_percent vkr_percent pfe_kw i0_percent vector_group "
            "shift_degree tap_changer_type parallel in_service " + _TAPS
        ),
        MappingProxyType({"hv_bus": ("hv_bus", "busFrom"), "lv_bus": ("lv_bus", "busTo")}),
        unset=_words("vk0_percent vkr0_percent mag0_percent si0_hv_partial"),
        beyond=_words(
            "vk0_percent vkr0_percent mag0_percent si0_hv_partial tap_phase_shifter",
            TAP_CONTROL, LIMITS, COST,
        ),
        convert=c.transformer,
    ),
    "Three Winding Transformer": Spelling(
        e.ThreeWindingTransformer,
        _same(
            "pfe_kw i0_percent vector_group shift_mv_degree shift_lv_degree tap_at_star_point "
            f"tap_changer_type in_service {_TAPS} {_WINDINGS}"
        ),
        MappingProxyType({side: (side,) for side in ("hv_bus", "mv_bus", "lv_bus")}),
        unset=_words("vector_group", _ZERO_WINDINGS),
        beyond=_words(
            "tap_phase_shifter", _ZERO_WINDINGS, TAP_CONTROL, LIMITS, COST,
        ),
        convert=c.three_winding_transformer,
    ),
    "Shunt Reactor": Spelling(
        e.ShuntReactor,
        _same("p_mw q_mvar vn_kv step max_step in_service"),
        _BUS,
        unset=_words("vn_kv"),
        beyond=_words(
            "step_dependency_table shunt_characteristic_table_json line_flow_step_control "
            "line_flow_p_reference line_flow_p_use_abs line_flow_reference_line_id "
            "line_flow_step_table_json discrete_shunt_control vm_set_pu shunt_control_tol "
            "shunt_control_increment shunt_reset_at_init",
            COST, FILLERS, STEP_FILLERS,
        ),
        convert=c.shunt_reactor,
    ),
    "Capacitor": Spelling(
        e.Capacitor,
        _same("q_mvar vn_kv step max_step in_service"),
        _BUS,
        unset=_words("vn_kv"),
        beyond=_words("loss_factor", COST, FILLERS, STEP_FILLERS),
        convert=c.capacitor,
    ),
    "Impedance": Spelling(
        e.Impedance,
        _same("rft_pu xft_pu rtf_pu xtf_pu sn_mva in_service"),
        _FROM_TO,
        beyond=_words("bus r_ohm x_ohm scaling type", COST),
        convert=c.impedance,
    ),
    "Ward": Spelling(
        e.Ward, _same(f"{_WARD} in_service"), _BUS, beyond=_words(COST, FILLERS)
    ),
    "Extended Ward": Spelling(
        e.ExtendedWard,
        _same(f"{_WARD} r_ohm x_ohm vm_pu in_service"),
        _BUS,
        needs=_words("vm_pu"),
        beyond=_words(COST, FILLERS),
    ),
    "Motor": Spelling(
        e.Motor,
        _same("pn_mech_mw cos_phi efficiency_percent loading_percent scaling in_service"),
        _BUS,
        unset=_words("cos_phi_n efficiency_n_percent lrc_pu vn_kv"),
        beyond=_words(
            "cos_phi_n efficiency_n_percent lrc_pu Irc_pu rx vn_kv pn_mw kappa max_ik_ka "
            "current_source type",
            COST,
        ),
    ),
    "Storage": Spelling(
        e.Storage,
        _same("p_mw q_mvar max_e_mwh min_e_mwh soc_percent sn_mva scaling in_service"),
        _BUS,
        unset=_words("sn_mva"),
        beyond=_words(
            "type phases state inv_control_mode", DISPATCH, LIMITS, COST, HARMONICS
        ),
        convert=c.storage,
    ),
    "PVSystem": Spelling(
        e.PVSystem,
        _same(
            "kva pf kvar pmpp_percent in_service",
            pmpp="pmpp_kw",
            irradiance="irradiance_kw_per_m2",
            temperature="temperature_degree_celsius",
            cutin="cutin_percent",
            cutout="cutout_percent",
        ),
        _BUS,
        unset=_words("kva kvar"),
        beyond=_words("phases model controlmode", INVERTER, COST, HARMONICS),
        convert=c.pv_system,
    ),
    "SVC": Spelling(
        e.SVC,
        _same(f"set_vm_pu {_THYRISTOR}"),
        _BUS,
        beyond=_words("q_mvar vm_mag_pu vm_set_pu", COST, FILLERS),
    ),
    "TCSC": Spelling(
        e.TCSC,
        _same(f"set_p_to_mw {_THYRISTOR}"),
        _FROM_TO,
        beyond=_words("bus x_c_ohm x_par_ohm", COST, FILLERS),
    ),
    "SSC": Spelling(
        e.SSC,
        _same(
            "r_ohm x_ohm set_vm_pu vm_internal_pu va_internal_degree controllable in_service"
        ),
        _BUS,
        beyond=_words("p_mw q_mvar", COST, FILLERS),
    ),
    "DC Line": Spelling(
        e.DCLine,
        _same("p_mw loss_percent loss_mw vm_from_pu vm_to_pu in_service"),
        MappingProxyType({"from_bus": ("busFrom", "bus"), "to_bus": ("busTo", "bus")}),
        needs=_words("vm_from_pu vm_to_pu"),
        beyond=_words(
            "bus v_kv max_q_from_mvar max_q_to_mvar min_q_from_mvar min_q_to_mvar",
            LIMITS, COST, FILLERS,
        ),
    ),
    "Switch": Spelling(
        e.Switch,
        _same("et closed z_ohm in_ka"),
        MappingProxyType({"bus": ("bus",), "element": ("element",)}),
        unset=_words("in_ka"),
        beyond=_words("type", PROTECTION, COST),
        convert=c.switch,
    ),
    "VSC": Spelling(
        e.VSC,
        _same(
            "r_ohm x_ohm r_dc_ohm control_mode_ac control_value_ac control_mode_dc "
            "control_value_dc in_service"
        ),
        MappingProxyType({"bus": ("bus",), "bus_dc": ("bus_dc",)}),
        beyond=_words("max_ik_ka p_mw rx sn_mva vm_pu", COST),
    ),
    "B2B VSC": _UNSPOKEN,
    "DC Bus": _UNSPOKEN,
    "Load DC": _UNSPOKEN,
    "Source DC": _UNSPOKEN,
    "Line DC": _UNSPOKEN,
    "Line 1ph": Spelling(
        e.Line,
        _same("length_km r_ohm_per_km x_ohm_per_km c_nf_per_km in_service"),
        _FROM_TO,
        beyond=_words("phase conn"),
        convert=c.line_of_one_phase,
    ),
    "Transformer 1ph": Spelling(
        e.Transformer,
        _same("vk_percent vkr_percent vn_hv_kv vn_lv_kv tap_pos in_service", sn_kva="sn_mva"),
        MappingProxyType({"hv_bus": ("hv_bus", "busFrom"), "lv_bus": ("lv_bus", "busTo")}),
        unset=_words("tap_pos"),
        beyond=_words("phase conn"),
        convert=c.transformer_of_one_phase,
    ),
    "Load 1ph": Spelling(
        e.Load,
        _same("p_mw q_mvar in_service"),
        _BUS,
        beyond=_words("p_kw q_kvar pf phase conn kv", HARMONICS),
        convert=c.power_of_one_phase,
    ),
    "Generator 1ph": Spelling(
        e.StaticGenerator,
        _same("p_mw q_mvar in_service", sn_kva="sn_mva"),
        _BUS,
        unset=_words("sn_kva"),
        beyond=_words("p_kw q_kvar phase conn kv model", HARMONICS),
        convert=c.generator_of_one_phase,
    ),
    "Source 1ph": Spelling(
        e.ExternalGrid,
        _same("vm_pu va_degree in_service"),
        _BUS,
        unset=_words("vm_pu"),
        beyond=_words("s_sc_max_mva phase conn"),
        convert=c.source_of_one_phase,
    ),
})  # fmt: skip


def spelling_of(typ: str) -> tuple[str, Spelling] | None:
    """The kind that a `typ` names, its running number apart: “Load3” is a Load."""
    word = typ.strip()
    found = word if word in SPELLINGS else word.rstrip("0123456789").strip()
    return (found, SPELLINGS[found]) if found in SPELLINGS else None


@functools.cache
def words_of(typ: str) -> Mapping[str, str]:
    """Catalogue's field → browser's field, of a kind."""
    spelling = SPELLINGS[typ]
    words = {name: words[0] for name, words in spelling.terminals.items()}
    return MappingProxyType({**words, **{name: word for word, name in spelling.fields.items()}})


# -- what the answer is made of --------------------------------------------------------------------


class Listing(NamedTuple):
    """A list of the answer: one row per element that has every number the client formats.

    keys   of the list, several where clients look under different ones
    kinds  what stands in it, one kind after the other
    read   fields that the client formats: always numbers
    more   fields that may be null
    """

    keys: tuple[str, ...]
    kinds: tuple[type[Element], ...]
    read: tuple[str, ...]
    more: tuple[str, ...] = ()


def _list(
    key: str, kinds: type[Element] | tuple[type[Element], ...], read: str, more: str = ""
) -> Listing:
    several = kinds if isinstance(kinds, tuple) else (kinds,)
    return Listing(tuple(key.split()), several, tuple(read.split()), tuple(more.split()))


_FLOWS = "p_from_mw q_from_mvar p_to_mw q_to_mvar"
_PHASE_POWERS = "p_a_mw q_a_mvar p_b_mw q_b_mvar p_c_mw q_c_mvar"

#: Lists that both engines' clients read alike.
_COMMON: tuple[Listing, ...] = (
    _list("lines", e.Line, f"{_FLOWS} i_from_ka i_to_ka loading_percent"),
    _list("externalgrids", e.ExternalGrid, "p_mw q_mvar pf q_p"),
    _list(
        "transformers", e.Transformer,
        "p_hv_mw q_hv_mvar p_lv_mw q_lv_mvar pl_mw i_hv_ka i_lv_ka loading_percent",
        "ql_mvar vm_hv_pu vm_lv_pu va_hv_degree va_lv_degree",
    ),
    _list("capacitors", e.Capacitor, "p_mw q_mvar vm_pu", "step max_step"),
    _list("shunts", e.ShuntReactor, "p_mw q_mvar vm_pu", "step max_step"),
    _list("impedances", e.Impedance, f"{_FLOWS} pl_mw ql_mvar i_from_ka i_to_ka"),
    _list("asymmetricloads", e.AsymmetricLoad, _PHASE_POWERS),
    # The client prints p_to_mw as the voltage of a ward.
    _list("wards", e.Ward, "p_mw q_mvar", "vm_pu p_to_mw"),
    _list("extendedwards", e.ExtendedWard, "p_mw q_mvar", "vm_pu p_to_mw"),
    _list("motors", e.Motor, "p_mw q_mvar"),
    _list("pvsystems", e.PVSystem, "p_mw q_mvar vm_pu va_degree", "irradiance temperature"),
    # The client reads svc and tcsc; svcs and tcscs are what the original calls them.
    _list(
        "svc svcs", e.SVC, "thyristor_firing_angle_degree x_ohm q_mvar vm_pu va_degree"
    ),
    _list(
        "tcsc tcscs", e.TCSC,
        f"thyristor_firing_angle_degree x_ohm {_FLOWS} p_l_mw q_l_mvar vm_from_pu va_from_degree "
        "vm_to_pu va_to_degree",
    ),
    _list("sscs", e.SSC, "q_mvar vm_internal_pu va_internal_degree vm_pu va_degree"),
    _list("dclines", e.DCLine, f"{_FLOWS} pl_mw"),
    _list("switches", e.Switch, "closed", f"i_ka {_FLOWS} loading_percent"),
)  # fmt: skip

_THREE_WINDING = (
    "p_hv_mw q_hv_mvar p_mv_mw q_mv_mvar p_lv_mw q_lv_mvar pl_mw ql_mvar vm_hv_pu vm_mv_pu "
    "vm_lv_pu va_hv_degree va_mv_degree va_lv_degree"
)
_THREE_WINDING_READ = "i_hv_ka i_mv_ka i_lv_ka loading_percent"

#: Engine → the lists of its power flow's answer.
POWER_FLOW: Mapping[str, tuple[Listing, ...]] = MappingProxyType({
    "pandapower": (
        _list(
            "busbars", e.Bus,
            "vm_pu va_degree p_mw q_mvar pf q_p vm_kv p_branch_mw q_branch_mvar",
        ),
        _list("generators", e.Generator, "p_mw q_mvar va_degree vm_pu"),
        _list("staticgenerators", e.StaticGenerator, "p_mw q_mvar"),
        _list("asymmetricstaticgenerators", e.AsymmetricStaticGenerator, _PHASE_POWERS),
        _list("loads", e.Load, "p_mw q_mvar"),
        _list("storages", e.Storage, "p_mw q_mvar"),
        _list("transformers3W", e.ThreeWindingTransformer, _THREE_WINDING_READ, _THREE_WINDING),
        *_COMMON,
    ),
    "opendss": (
        _list("busbars", e.Bus, "vm_pu va_degree", "p_mw q_mvar pf q_p vm_kv"),
        _list(
            "generators", (e.Generator, e.StaticGenerator, e.AsymmetricStaticGenerator),
            "p_mw q_mvar va_degree vm_pu",
        ),
        _list("loads", e.Load, "p_mw q_mvar", "p_set_mw vm_pu"),
        _list("storages", e.Storage, "p_mw q_mvar", "vm_pu"),
        _list("transformers3w", e.ThreeWindingTransformer, _THREE_WINDING_READ, _THREE_WINDING),
        *_COMMON,
    ),
})  # fmt: skip

_OPTIMAL: tuple[Listing, ...] = (
    _list("busbars", e.Bus, "p_mw", "vm_pu va_degree q_mvar pf lam_p lam_q"),
    _list("generators", e.Generator, "p_mw", "q_mvar vm_pu va_degree"),
    _list("externalgrids", e.ExternalGrid, "p_mw", "q_mvar"),
    _list("storages", e.Storage, "p_mw", "q_mvar"),
    _list("staticgenerators", e.StaticGenerator, "p_mw", "q_mvar"),
    _list("loads", e.Load, "p_mw", "q_mvar"),
    _list(
        "lines", e.Line, "p_from_mw",
        "q_from_mvar p_to_mw q_to_mvar i_from_ka i_to_ka loading_percent mu_sf mu_st",
    ),
    _list("dclines", e.DCLine, "p_from_mw", "q_from_mvar p_to_mw q_to_mvar pl_mw"),
)  # fmt: skip
_OPTIMISED = {kind for listing in _OPTIMAL for kind in listing.kinds}
#: The lists of an optimal power flow, in which every cell but the first may be null; what its
#: dialog does not show is listed as in a power flow.
OPTIMAL_POWER_FLOW: tuple[Listing, ...] = _OPTIMAL + tuple(
    listing._replace(read=listing.read[:1], more=(*listing.read[1:], *listing.more))
    for listing in POWER_FLOW["pandapower"]
    if not _OPTIMISED & set(listing.kinds)
)

_CURRENTS = "ikss_ka ip_ka ith_ka rk_ohm xk_ohm"
_BRANCH_CURRENTS = "ikss_from_ka ikss_to_ka ip_ka ith_ka"
#: The lists of a short circuit; those of branches may have nulls beyond the first cell.
SHORT_CIRCUIT: tuple[Listing, ...] = (
    _list("busbars", e.Bus, _CURRENTS, "ib_ka skss_mw"),
    _list("ext_grid_sc", e.ExternalGrid, _CURRENTS, "ib_ka skss_mw"),
    _list("lines_sc", e.Line, "ikss_ka", _BRANCH_CURRENTS),
    _list("trafos_sc", e.Transformer, "ikss_hv_ka", "ikss_lv_ka"),
    _list("trafos3w_sc", e.ThreeWindingTransformer, "ikss_hv_ka", "ikss_mv_ka ikss_lv_ka"),
)
#: The list of a fault study on OpenDSS.
FAULT_STUDY: tuple[Listing, ...] = (_list("busbars", e.Bus, _CURRENTS, "skss_mw"),)
